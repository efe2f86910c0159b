package stream

import (
	"bytes"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// The methods here deal with QoS 1 messages that wait since an earlier connection. If the broker
// still has the session, it sends the messages again, since their acks were not sent. If it has
// lost the session, or goes on from an older state of it, the waiting message is the only one.

// reconnected begins a connection. The parameter kept reports whether the broker may send the
// waiting messages again.
func (b *inboxes) reconnected(kept bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.earlier = earlierSlots{}
	if !kept {
		return
	}
	for i := range b.slots {
		d := &b.slots[i].delivery
		if d.from == nil || d.seq == 0 {
			continue
		}
		b.earlier.last = max(b.earlier.last, d.seq)
		if d.QoS == frames.AtLeastOnce {
			if b.earlier.slots == nil {
				b.earlier.slots = make(map[uint64]int32)
			}
			b.earlier.slots[d.seq] = int32(i)
		}
	}
}

// put appends d to an inbox. It is called between lock and unlock. If the broker sends d again, was
// has the numbers of the deliveries of the message on the earlier connection. It returns false if
// the Subscription was unsubscribed, which drops the message.
func (b *inboxes) put(box *inbox, d *Delivery, shared bool, was flow.Numbers) (ok bool) {
	if was.To == 0 || box.left.Load() {
		return b.push(box, d, shared)
	}
	b.putCopy(box, d, shared, was)
	return true
}

// putCopy adds d, which the broker sends again, to an inbox. If an equal message with one of the
// numbers in was waits in the inbox, or was requeued, that message stays in its place and gets the
// number of d, so that there is one delivery and one ack. Otherwise the consumer has the message
// already, and d goes before the messages that arrived after the message first.
func (b *inboxes) putCopy(box *inbox, d *Delivery, shared bool, was flow.Numbers) {
	for seq := was.From; seq < was.To; seq++ {
		i, ok := b.earlier.slots[seq]
		if !ok || int(i) >= len(b.slots) || b.slots[i].delivery.from != box {
			continue
		}
		if mine := &b.slots[i].delivery; mine.seq == seq && mine.takeOver(d) {
			b.renumbered(seq, mine)
			return
		}
	}
	for i, list := 0, b.postponed.all(); i < len(list); i++ {
		mine := &list[i].delivery
		if seq := mine.seq; was.From <= seq && seq < was.To && mine.from == box && mine.takeOver(d) {
			b.renumbered(seq, mine)
			return
		}
	}
	b.push(box, d, shared)
	i, at := box.line.Tail, box.line.Head
	for at != i && !b.arrivedAfter(at, was) {
		at = b.byInbox[at].Next
	}
	if at != i {
		box.line.Remove(b.byInbox, i)
		box.line.InsertBefore(b.byInbox, i, at)
		b.slots[i].delivery.order = b.slots[at].delivery.order
	}
}

// renumbered records that d has a new number in place of was.
func (b *inboxes) renumbered(was uint64, d *Delivery) {
	if b.arrivesAt != 0 {
		b.hands.forget(was)
		b.hands.expect(d)
	}
}

// takeOver gives d the number of a copy with the same content, and reports whether it has. The old
// number needs no ack any more.
func (d *Delivery) takeOver(copied *Delivery) bool {
	if d.QoS != copied.QoS || d.Topic != copied.Topic || !bytes.Equal(d.Payload, copied.Payload) {
		return false
	}
	d.Ack()
	d.seq, d.turn, d.ID, d.Duplicate = copied.seq, 0, copied.ID, true
	return true
}

// arrivedAfter reports whether the message in slot i arrived on an earlier connection and after the
// message with the numbers was.
func (b *inboxes) arrivedAfter(i int32, was flow.Numbers) bool {
	d := &b.slots[i].delivery
	return d.seq >= was.To && d.seq <= b.earlier.last
}
