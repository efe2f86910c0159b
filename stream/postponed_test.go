package stream

import (
	"slices"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// postponedOf returns requeued deliveries, which arrived in this order. Each is due after as many
// seconds as its entry says. Negative entries are QoS 0.
func postponedOf(box *inbox, due ...int) *postponed {
	p := new(postponed)
	for i, at := range due {
		r := requeue{delivery: Delivery{order: uint32(i), from: box}, due: time.Duration(max(at, -at)) * time.Second}
		if at > 0 {
			r.delivery.QoS = frames.AtLeastOnce
		}
		p.add(r)
	}
	return p
}

// wantOrders checks the deliveries of a list by their order of arrival.
func wantOrders(t *testing.T, list []requeue, want ...uint32) {
	t.Helper()
	var got []uint32
	for i := range list {
		got = append(got, list[i].delivery.order)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("messages %v, want %v", got, want)
	}
}

func TestPostponedDeliveriesAreInOrderOfTheirTimeThenOfRequeue(t *testing.T) {
	p := postponedOf(nil, 3, 1, 3, -2, 1)
	wantOrders(t, p.all(), 1, 4, 3, 0, 2)
	if due := p.due(); due != time.Second {
		t.Errorf("the first is due at %v", due)
	}
	wantOrders(t, p.takeDue(2*time.Second-1), 1, 4)
	wantOrders(t, p.takeDue(2*time.Second), 3)
	if p.qos0 != 0 {
		t.Errorf("%d of QoS 0 are left", p.qos0)
	}
	wantOrders(t, p.takeDue(time.Hour), 0, 2)
	if due := p.due(); due != 0 {
		t.Errorf("an empty list is due at %v", due)
	}
}

func TestTheOldestPostponedDeliveryIsTheQoS0MessageThatArrivedFirst(t *testing.T) {
	p := postponedOf(nil, 1, -5, -2)
	for _, want := range []uint32{1, 2} {
		if got := p.take(p.oldest()).delivery.order; got != want {
			t.Errorf("message %d is the oldest, want %d", got, want)
		}
	}
	if at := p.oldest(); at != -1 {
		t.Errorf("the oldest of none is at %d", at)
	}
}

func TestThePostponedDeliveriesOfOneInboxAreTaken(t *testing.T) {
	mine, other := new(inbox), new(inbox)
	p := postponedOf(mine, 1, -3)
	for _, r := range postponedOf(other, 2, -4).all() {
		p.add(r)
	}
	taken := p.takeFrom(mine)
	wantOrders(t, taken, 0, 1)
	wantOrders(t, p.all(), 0, 1)
	for _, r := range p.all() {
		if r.delivery.from != other {
			t.Error("a delivery of the inbox is left")
		}
	}
	if p.qos0 != 1 {
		t.Errorf("%d of QoS 0 are left, want 1", p.qos0)
	}
}
