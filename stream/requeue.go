package stream

import (
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Requeue puts the message back at the end of the inbox of its Subscription when the time after has
// passed; 0 and less is at once. The message is handed over again, behind messages that arrived
// later, and is acknowledged by the Ack of that delivery. Until then it holds back the acks of
// later messages and counts as unacknowledged, also at Close and Shutdown, and in Stats.Inbox and
// MaxUnread. The payload is copied.
//
// The first call of Ack or Requeue decides, also after a reconnect: Requeue does nothing after Ack,
// and Ack does nothing after Requeue. So in a range loop over All, Requeue replaces the ack at the
// next turn. When the broker sends a requeued QoS 1 message again after a reconnect, it is handed
// over once. At QoS 0 there is no ack, and each call puts back a copy, which counts against
// ReceiveBytes from then on and is dropped like others, by order of its first arrival. After
// Unsubscribe the message is acknowledged and dropped. If the channels are closed already, it joins
// the messages that no Subscription claims.
func (d Delivery) Requeue(after time.Duration) {
	if d.from == nil {
		return
	}
	d.Message = d.Message.Clone()
	b := d.from.all
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.acks.requeue(d, max(0, after)) {
		d.from.later++
	}
}

// postpone keeps the requeued deliveries until they are due. It ignores deliveries that were
// acknowledged before, for which open returns false, and returns the number of the others.
func (b *inboxes) postpone(requeues []requeue, now time.Duration, open func(seq uint64) bool) (n int) {
	for i := range requeues {
		r := &requeues[i]
		if d := &r.delivery; d.seq != 0 && !open(d.seq) {
			b.forgetRequeue(d)
			continue
		}
		r.due = max(1, now+r.after) // 0 is none
		b.keepUntilDue(*r)
		n++
	}
	return n
}

// keepUntilDue keeps a delivery, which counts as a message of its inbox. When there is no room for
// a QoS 0 message, the oldest QoS 0 messages are dropped.
func (b *inboxes) keepUntilDue(r requeue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, box := &r.delivery, r.delivery.from
	if b.postponed == nil {
		b.postponed = new(postponed)
	}
	n := cost(d)
	if d.QoS == frames.AtMostOnce {
		b.makeRoom(n)
	}
	b.add(d.QoS, n)
	box.add(d.QoS, n)
	b.postponed.add(r)
}

// forgetRequeue ends a call of Requeue that comes after Ack.
func (b *inboxes) forgetRequeue(d *Delivery) {
	b.acks.forget(d.seq)
	b.mu.Lock()
	defer b.mu.Unlock()
	d.from.later--
	d.from.noneLater()
}

// requeueDue returns the time of the next requeue, 0 for none. Only the loop calls it, which also
// sets postponed.
func (b *inboxes) requeueDue() time.Duration {
	if b.postponed == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.postponed.due()
}

// resume puts the postponed deliveries that are due into their inboxes. It calls dropped with the
// number of each delivery of a Subscription that was unsubscribed.
func (b *inboxes) resume(now time.Duration, dropped func(seq uint64)) {
	if due := b.requeueDue(); due == 0 || due > now {
		return
	}
	b.lockAt(now)
	defer b.unlock()
	due := b.postponed.takeDue(now)
	for i := range due {
		b.unpostpone(&due[i])
	}
	for i := range due {
		r := &due[i]
		box := r.delivery.from
		if box.ended {
			box = b.unclaimed
		}
		switch {
		case b.push(box, &r.delivery, false): // its payload is a copy, which lies in no read buffer
			s := &b.slots[box.line.Tail]
			b.buffers.release(s.buffer, len(s.delivery.Payload))
			s.buffer = 0
		case r.delivery.seq != 0:
			b.acks.forget(r.delivery.seq)
			dropped(r.delivery.seq)
		}
	}
}

// dropPostponed removes the postponed messages of an inbox and calls dropped for each.
func (b *inboxes) dropPostponed(box *inbox, dropped func(*Delivery)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.postponed.takeFrom(box) {
		b.unpostpone(&r)
		dropped(&r.delivery)
	}
}
