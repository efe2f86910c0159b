package stream_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// If the context of Shutdown ends first, the store keeps the incomplete publications and their
// progress. The next process completes them.
func TestShutdownKeepsOpenExchanges(t *testing.T) {
	onEveryStore(t, func(t *testing.T, b *streamtest.Broker, m *medium) {
		l := &life{t: t, b: b, medium: m, way: restart, o: stream.Options{Window: 3}}
		l.boot()
		l.up(false)
		sendAll(l.s, message("out", "1", 2), message("out", "2", 1), message("out", "3", 2), message("out", "4", 1), message("out", "5", 2))
		l.c.Expect(publish("out", "1", 2, 1, false), publish("out", "2", 1, 2, false), publish("out", "3", 2, 3, false))
		l.c.Send(ack(pubrec, 1), publish("in", "acked", 2, 7, false), publish("in", "not acked", 2, 8, false))
		l.c.Expect(ack(pubrel, 1))
		held := l.s.Deliveries()
		one, two := wantDelivery(t, held, "in", "acked"), wantDelivery(t, held, "in", "not acked")

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		down := callShutdown(ctx, t, l.s)
		down.pending()
		one.Ack()
		l.c.Expect(ack(pubrec, 7))
		l.c.Send(ack(puback, 2))
		l.c.Expect(publish("out", "4", 1, 4, false))
		down.pending()
		err := down.after(5 * time.Second)
		wantError(t, err, context.DeadlineExceeded)
		wantText(t, err, "4 publications and 1 deliveries were left unfinished")
		two.Ack() // no effect after Shutdown
		receipts := wantReceipts(t, l.acks, 5)
		for i, want := range []error{nil, stream.ErrKept, stream.ErrKept, stream.ErrKept, stream.ErrKept} {
			wantError(t, receipts[i].Err, want)
		}

		want := flow.Snapshot{
			Owner: "kept",
			Publications: []flow.Publication{
				{Seq: 1, Message: message("out", "1", 2), ID: 1, Released: true},
				{Seq: 3, Message: message("out", "3", 2), ID: 3},
				{Seq: 4, Message: message("out", "4", 1), ID: 4},
				{Seq: 5, Message: message("out", "5", 2)},
			},
			Received: []uint16{7},
		}
		got := m.holds(t, "kept")
		if recorded := got.Session != nil; recorded != (version >= frames.V5) {
			t.Errorf("the record of the session is %+v", got.Session)
		}
		got.Session = nil
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the store holds %+v, want %+v", got, want)
		}
		l.boot()
		l.up(true)
		l.c.Expect(ack(pubrel, 1), publish("out", "3", 2, 3, true), publish("out", "4", 1, 4, true))
		l.c.Send(publish("in", "acked", 2, 7, true), publish("in", "not acked", 2, 8, true))
		wantDelivery(t, l.s.Deliveries(), "in", "not acked").Ack()
		l.c.Expect(ack(pubrec, 7), ack(pubrec, 8))
		wantNoDelivery(t, l.s.Deliveries())
	})
}

// A complete Shutdown leaves no publication on the store. The store keeps the identifiers of
// inbound messages for which PUBREL has not arrived.
func TestCompleteShutdownLeavesNoPublications(t *testing.T) {
	onEveryStore(t, func(t *testing.T, b *streamtest.Broker, m *medium) {
		l := &life{t: t, b: b, medium: m, o: stream.Options{Window: 3}}
		l.boot()
		l.up(false)
		l.c.Send(publish("in", "x", 2, 7, false))
		d := wantDelivery(t, l.s.Deliveries(), "in", "x")
		sendAll(l.s, message("out", "1", 2), message("out", "2", 1))
		l.c.Expect(publish("out", "1", 2, 1, false), publish("out", "2", 1, 2, false))
		down := callShutdown(t.Context(), t, l.s)
		l.c.Send(ack(puback, 2), ack(pubrec, 1))
		l.c.Expect(ack(pubrel, 1))
		l.c.Send(ack(pubcomp, 1))
		down.pending()
		d.Ack()
		l.c.Expect(ack(pubrec, 7))
		l.c.ExpectDisconnect()
		if err := down.after(0); err != nil {
			t.Error(err)
		}
		if got := m.holds(t, "kept"); len(got.Publications) != 0 || fmt.Sprint(got.Received) != "[7]" {
			t.Errorf("the store holds %+v", got)
		}
	})
}

// When Shutdown ends offline, all publications stay on the store, the queued ones too.
func TestOfflineShutdownKeepsAllPublications(t *testing.T) {
	bothAcknowledged(t, func(t *testing.T, q frames.QoS) {
		onEveryStore(t, func(t *testing.T, b *streamtest.Broker, m *medium) {
			l := &life{t: t, b: b, medium: m}
			l.boot()
			b.Hold(100)
			sendAll(l.s, message("out", "1", q), message("out", "2", q), message("out", "0", 0))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			wantText(t, callShutdown(ctx, t, l.s).after(time.Second), "3 publications and 0 deliveries were left unfinished")
			for i, r := range wantReceipts(t, l.acks, 3) {
				fate := stream.ErrKept
				if i == 2 {
					fate = stream.ErrNotSent // QoS 0 is not part of the session state
				}
				wantError(t, r.Err, fate)
			}
			want := flow.Snapshot{Owner: "kept", Publications: []flow.Publication{
				{Seq: 1, Message: message("out", "1", q)}, {Seq: 2, Message: message("out", "2", q)},
			}}
			if got := m.holds(t, "kept"); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("the store holds %+v, want %+v", got, want)
			}
		})
	})
}

// Offline, Sync and Close end at once, and leave on the store all that Shutdown would wait for.
func TestOfflineSyncAndCloseEndAtOnceAndLoseNothing(t *testing.T) {
	bothAcknowledged(t, func(t *testing.T, q frames.QoS) {
		onEveryStore(t, func(t *testing.T, b *streamtest.Broker, m *medium) {
			l := &life{t: t, b: b, medium: m}
			l.boot()
			b.Hold(100)
			sendAll(l.s, message("out", "1", q), message("out", "2", q))
			began := time.Now()
			if err := errors.Join(l.s.Sync(t.Context()), l.s.Close()); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("Sync and Close took %v", took)
			}
			for _, r := range wantReceipts(t, l.acks, 2) {
				wantError(t, r.Err, stream.ErrKept)
			}
			if got := m.holds(t, "kept"); len(got.Publications) != 2 {
				t.Errorf("the store holds %+v", got)
			}
		})
	})
}

// A clean session leaves nothing on the store. The error of Shutdown gives the number of lost
// publications.
func TestShutdownOfACleanSessionLeavesTheStoreEmpty(t *testing.T) {
	onEveryStore(t, func(t *testing.T, b *streamtest.Broker, m *medium) {
		acks := make(chan stream.Receipt, 10)
		s, c := connected(t, b, &stream.Options{ClientID: "kept", Store: m.boot(), ClearSession: true, Ack: acks})
		sendAll(s, message("out", "1", 1), message("out", "2", 1))
		c.Expect(publish("out", "1", 1, 1, false))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantText(t, callShutdown(ctx, t, s).after(time.Second), "2 publications")
		receipts := wantReceipts(t, acks, 2)
		wantError(t, receipts[0].Err, stream.ErrUnconfirmed)
		wantError(t, receipts[1].Err, stream.ErrNotSent)
		if snap := m.holds(t, "kept"); !snap.Empty() {
			t.Errorf("the store holds %+v", snap)
		}
	})
}
