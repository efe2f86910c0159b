package stream

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
)

func newTestReceipts() *receipts {
	l := newLife()
	return &receipts{
		counts: newReceiptCounts(), calls: &publishCalls{wake: l.wake}, life: l, log: slog.New(slog.DiscardHandler),
		outcomes: outcomes{clock: new(clock), timings: new(timings)},
	}
}

func receiptOf(id uint16) Receipt { return Receipt{ID: id} }

// A channel that takes nothing delays neither the loop nor the Receipts of others, and loses none
// of its own.
func TestADeadChannelDelaysNobody(t *testing.T) {
	r := newTestReceipts()
	dead, live := make(chan Receipt), make(chan Receipt, 100)
	for id := range uint16(100) {
		r.send(owner{ack: dead, tag: id}, receiptOf(id))
		r.send(owner{ack: live}, receiptOf(id))
	}
	for id := range uint16(100) {
		if got := <-live; got.ID != id {
			t.Fatalf("Receipt %d in place of %d", got.ID, id)
		}
	}
	if n := r.counts.waiting.Load(); n < 99 {
		t.Errorf("%d Receipts wait", n)
	}
	for id := range uint16(100) {
		if got := <-dead; got.ID != id || got.Tag != id {
			t.Fatalf("Receipt %d in place of %d", got.ID, id)
		}
	}
	if left := r.handOver(); left != 0 || r.counts.waiting.Load() != 0 {
		t.Errorf("%d Receipts left", left)
	}
	r.sweep()
	if len(r.lagging) != 0 {
		t.Error("the queue of a channel that has caught up stays")
	}
	r.life.await(receiptSender)
}

func TestAChannelThatCaughtUpLagsAnew(t *testing.T) {
	r := newTestReceipts()
	ack := make(chan Receipt)
	for round := range uint16(3) {
		r.send(owner{ack: ack}, receiptOf(round))
		<-ack
		r.handOver()
	}
	r.life.await(receiptSender)
}

// Close offers Receipts for as long as some channel takes one now and then, and a second more.
func TestHandOverEndsASecondAfterTheLastReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestReceipts()
		ack := make(chan Receipt)
		for id := range uint16(5) {
			r.send(owner{ack: ack}, receiptOf(id))
		}
		began := time.Now()
		go func() {
			for range 2 {
				<-time.After(900 * time.Millisecond)
				<-ack
			}
		}()
		if left := r.handOver(); left != 3 {
			t.Errorf("%d Receipts left, want 3", left)
		}
		if took := time.Since(began); took != 3*time.Second { // looked at each second; nothing was taken in the third
			t.Errorf("it took %v", took)
		}
		r.life.await(receiptSender)
	})
}

func TestEachOwnerHearsOfItsEnd(t *testing.T) {
	r := newTestReceipts()
	ack := make(chan Receipt, 1)
	r.complete(&flow.Ended[owner]{ID: 4, Owner: owner{tag: "t", ack: ack}}, ErrNotSent)
	if got := <-ack; got.ID != 4 || got.Tag != "t" || got.Err != ErrNotSent {
		t.Errorf("the channel took %+v", got)
	}
	call := begin(r.calls, "x")
	r.complete(&flow.Ended[owner]{ID: 5, Owner: owner{tag: call}}, nil)
	if got := <-call.receipt; got.ID != 5 || got.Tag != nil {
		t.Errorf("the call took %+v", got)
	}
	st := newStage(t.Context(), 10)
	r.complete(&flow.Ended[owner]{Seq: 6, ID: 6, Owner: owner{tag: st, shift: ^uint64(4)}}, nil)
	r.complete(&flow.Ended[owner]{Seq: 7, ID: 7, Owner: owner{tag: st, shift: ^uint64(4)}}, nil)
	r.wakeStages()
	if want := (results{place: 1, n: 2, id: 6}); len(st.ended) != 1 || st.ended[0] != want || len(st.wake) != 1 {
		t.Errorf("the stage has %+v", st.ended)
	}
	r.complete(&flow.Ended[owner]{ID: 8}, nil) // nobody wants it
}
