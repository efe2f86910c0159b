package stream

import (
	"slices"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/flow/list"
)

// The methods here move messages between inboxes, or drop them.

// move transfers the messages for which suits returns true from one inbox to another, where they
// are merged by order of arrival.
func (b *inboxes) move(from, to *inbox, suits func(*Delivery) bool) {
	b.mu.Lock()
	defer b.unlock()
	at := to.line.Head
	b.walk(&from.line, func(i int32) {
		s := &b.slots[i]
		if !suits(&s.delivery) {
			return
		}
		from.line.Remove(b.byInbox, i)
		n := cost(&s.delivery)
		from.subtract(s.delivery.QoS, n)
		s.delivery.from, s.claimed = to, true
		for at != 0 && b.slots[at].delivery.arrivedBefore(&s.delivery) {
			at = b.byInbox[at].Next
		}
		to.line.InsertBefore(b.byInbox, i, at)
		to.add(s.delivery.QoS, n)
	})
	if to.count > 0 {
		b.wakeLater(to)
	}
}

// claim transfers the messages that match the filters of set from one inbox to the inbox of set.
func (b *inboxes) claim(from *inbox, set *filterSet, lookup func(topic string) []*filterSet) {
	b.move(from, set.inbox, func(d *Delivery) bool { return slices.Contains(lookup(d.Topic), set) })
}

// drop removes the unwanted messages from an inbox and calls dropped for each.
func (b *inboxes) drop(box *inbox, unwanted func(*slot) bool, dropped func(*Delivery)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.walk(&box.line, func(i int32) {
		if !unwanted(&b.slots[i]) {
			return
		}
		d := b.slots[i].delivery
		b.remove(i)
		dropped(&d)
	})
	b.wakeLoop()
}

// pending returns the number of waiting deliveries that still need an ack.
func (b *inboxes) pending(r *flow.Receiver) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.slots {
		if d := &b.slots[i].delivery; d.from != nil && d.seq != 0 && r.Pending(d.seq) {
			n++
		}
	}
	for i, list := 0, b.postponed.all(); i < len(list); i++ {
		if d := &list[i].delivery; d.seq != 0 && r.Pending(d.seq) {
			n++
		}
	}
	return n
}

// holder returns the inbox in which delivery seq waits, nil if none, and how many messages it has.
func (b *inboxes) holder(seq uint64) (box *inbox, count int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.slots {
		if d := &b.slots[i].delivery; d.from != nil && d.seq == seq {
			return d.from, d.from.count
		}
	}
	return nil, 0
}

// walk calls visit for the messages of a line in order. The function visit may remove its message.
func (b *inboxes) walk(line *list.List, visit func(i int32)) {
	for i := line.Head; i != 0; {
		next := b.byInbox[i].Next
		visit(i)
		i = next
	}
}
