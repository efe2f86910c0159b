package stream

import (
	"slices"
	"testing"
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
	if got := list.take(); !slices.Equal(got, []uint64{3, 1, 1, 2}) {
		t.Errorf("took %d", got)
	}
	Delivery{seq: 9, from: from}.Ack()
	if got := list.take(); !slices.Equal(got, []uint64{9}) || wakes != 2 {
		t.Errorf("took %d after %d wake-ups", got, wakes)
	}
	if got := list.take(); len(got) != 0 {
		t.Errorf("took %d from an empty list", got)
	}
}

func TestAnAckAfterTheEndIsHarmless(t *testing.T) {
	list := &ackList{wake: func() {}}
	from := &inbox{all: &inboxes{acks: list}}
	list.close()
	Delivery{seq: 1, from: from}.Ack()
	if got := list.take(); len(got) != 0 {
		t.Errorf("took %d from a closed list", got)
	}
	Delivery{}.Ack() // QoS 0 has no number
}
