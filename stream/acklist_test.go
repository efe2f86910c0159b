package stream

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

func TestAcksReachTheLoopInTheirOrderWithOneWakeUp(t *testing.T) {
	wakes := 0
	list := &ackList{wake: func() { wakes++ }}
	from := &inbox{all: &inboxes{acks: list}}
	for _, seq := range []uint64{3, 1, 1, 2} {
		Delivery{seq: seq, from: from}.Ack()
	}
	if wakes != 1 {
		t.Errorf("%d wake-ups for one list", wakes)
	}
	if got, _ := list.take(); !slices.Equal(got, []uint64{3, 1, 1, 2}) {
		t.Errorf("took %d", got)
	}
	Delivery{seq: 9, from: from}.Ack()
	if got, _ := list.take(); !slices.Equal(got, []uint64{9}) || wakes != 2 {
		t.Errorf("took %d after %d wake-ups", got, wakes)
	}
	if got, _ := list.take(); len(got) != 0 {
		t.Errorf("took %d from an empty list", got)
	}
}

// The loop may take the list at any moment, and must not take the number of a rejected delivery
// without its rejection, or the rejection without the number.
func TestARejectionIsTakenWithItsNumber(t *testing.T) {
	const n = 100_000
	list := &ackList{wake: func() {}}
	from := &inbox{all: &inboxes{acks: list}}
	var consumer sync.WaitGroup
	consumer.Go(func() {
		for seq := uint64(1); seq <= n; seq++ {
			Delivery{seq: seq, from: from}.Reject(frames.QuotaExceeded, "")
		}
	})
	lost := 0
	for taken := 0; taken < n; {
		seqs, rejected := list.take()
		for _, seq := range seqs {
			if rejected[seq].code != frames.QuotaExceeded {
				lost++
			}
		}
		taken += len(seqs)
	}
	consumer.Wait()
	if lost > 0 {
		t.Errorf("of %d rejections %d were taken as acks", n, lost)
	}
}

func TestAnAckAfterTheEndIsHarmless(t *testing.T) {
	list := &ackList{wake: func() {}}
	from := &inbox{all: &inboxes{acks: list}}
	list.close()
	Delivery{seq: 1, from: from}.Ack()
	if got, _ := list.take(); len(got) != 0 {
		t.Errorf("took %d from a closed list", got)
	}
	Delivery{}.Ack() // QoS 0 has no number
}

// The record of a requeued delivery ends with the delivery, also when its Subscription ends.
func TestRequeuesOfAnEndedSubscriptionTakeNoMemory(t *testing.T) {
	for _, due := range []time.Duration{0, time.Second} {
		b := newInboxes(1<<20, 1<<20, newLife())
		l := &loop{inboxes: b, receiver: receiver{Receiver: flow.NewReceiver(nil)}}
		box := b.newInbox()
		requeue := func() {
			for id := uint16(1); id <= 3; id++ {
				seq, _ := l.receiver.Arrive(frames.AtLeastOnce, id, false, 1)
				Delivery{Message: frames.Message{QoS: frames.AtLeastOnce}, seq: seq, from: box}.Requeue(due)
			}
			b.postpone(b.acks.takeRequeues(), 1, l.receiver.Open)
		}
		requeue()
		b.resume(2, l.receiver.Ack) // into the inbox, if they are due at once
		if len(b.acks.turns) != 3 {
			t.Fatalf("%d turns", len(b.acks.turns))
		}
		box.discard(l.discard)
		requeue() // a consumer that held deliveries then
		b.resume(time.Minute, l.receiver.Ack)
		if len(b.acks.turns) > 0 || l.receiver.Waiting() > 0 || b.waiting() > 0 {
			t.Errorf("due in %v: %d turns, %d unacknowledged, %d waiting", due, len(b.acks.turns), l.receiver.Waiting(), b.waiting())
		}
	}
}
