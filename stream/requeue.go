package stream

import (
	"slices"
	"time"
)

// A requeue is a delivery that its consumer does not want now.
type requeue struct {
	delivery Delivery
	after    time.Duration
	due      time.Duration // set by the loop
}

// Requeue puts the message back at the end of the inbox of its Subscription when the time after has
// passed; 0 and less is at once. The message is handed over again, behind messages that arrived
// later, and is acknowledged by the Ack of that delivery. Until then it holds back the acks of later
// messages and counts as unacknowledged, also at Close and Shutdown, and in Stats.Inbox and
// MaxUnread. The payload is copied.
//
// The first call of Ack or Requeue decides: Requeue does nothing after Ack, and Ack does nothing
// after Requeue. So in a range loop over All, Requeue replaces the ack at the next turn. At QoS 0
// there is no ack, and each call puts back a copy, if ReceiveBytes has room. After Unsubscribe the
// message is acknowledged and dropped. If the channels are closed already, it joins the messages
// that no Subscription claims.
func (d Delivery) Requeue(after time.Duration) {
	if d.from != nil {
		d.Message = d.Message.Clone()
		d.from.all.acks.requeue(d, max(0, after))
	}
}

func (a *ackList) requeue(d Delivery, after time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.turns[d.seq] != d.turn {
		return
	}
	if d.seq != 0 {
		d.turn++
		if a.turns == nil {
			a.turns = make(map[uint64]uint8)
		}
		a.turns[d.seq] = d.turn
	}
	a.requeues = append(a.requeues, requeue{delivery: d, after: after})
	a.wake()
}

// takeRequeues returns the calls of Requeue since the last call.
func (a *ackList) takeRequeues() []requeue {
	a.mu.Lock()
	defer a.mu.Unlock()
	requeues := a.requeues
	a.requeues = nil
	return requeues
}

// forget ends the bookkeeping of a delivery that was acknowledged.
func (a *ackList) forget(seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.turns, seq)
}

// postpone keeps a delivery until its time. It counts as a message of its inbox.
func (b *inboxes) postpone(r requeue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, box := &r.delivery, r.delivery.from
	b.used.add(d.QoS, cost(d))
	b.count++
	box.add(d)
	box.later++
	at, _ := slices.BinarySearchFunc(b.acks.later, r.due+1, func(r requeue, due time.Duration) int { return int(r.due - due) })
	b.acks.later = slices.Insert(b.acks.later, at, r)
}

// unpostpone removes a delivery that was postponed from the figures. The caller holds the lock.
func (b *inboxes) unpostpone(r *requeue) {
	d, box := &r.delivery, r.delivery.from
	b.used.add(d.QoS, -cost(d))
	b.count--
	box.subtract(d)
	box.later--
}

// requeueDue returns the time of the next requeue, 0 for none.
func (b *inboxes) requeueDue() time.Duration {
	if len(b.acks.later) == 0 {
		return 0
	}
	return b.acks.later[0].due
}

// dropPostponed removes the postponed messages of an inbox and calls dropped for each.
func (b *inboxes) dropPostponed(box *inbox, dropped func(*Delivery)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acks.later = slices.DeleteFunc(b.acks.later, func(r requeue) bool {
		if r.delivery.from != box {
			return false
		}
		b.unpostpone(&r)
		dropped(&r.delivery)
		return true
	})
}

// takeRequeues postpones the deliveries that consumers do not want now. A delivery that was
// acknowledged before stays so.
func (l *loop) takeRequeues() {
	for _, r := range l.inboxes.acks.takeRequeues() {
		d := &r.delivery
		if d.seq != 0 && !l.receiver.Pending(d.seq) && l.receiver.Current(d.seq) {
			l.inboxes.acks.forget(d.seq)
			continue
		}
		r.due = l.clock.now + r.after
		l.inboxes.postpone(r)
	}
}

// resume puts the postponed deliveries that are due into their inboxes.
func (l *loop) resume() {
	b := l.inboxes
	if due := b.requeueDue(); due == 0 || due > l.clock.now {
		return
	}
	b.lock()
	defer b.unlock()
	n := 0
	for ; n < len(b.acks.later) && b.acks.later[n].due <= l.clock.now; n++ {
		r := &b.acks.later[n]
		box := r.delivery.from
		b.unpostpone(r)
		if box.ended {
			box = b.unclaimed
		}
		switch {
		case b.push(box, &r.delivery, false): // its payload is a copy, which lies in no read buffer
			s := &b.slots[box.line.Tail]
			b.buffers.release(s.buffer, len(s.delivery.Payload))
			s.buffer = 0
		case r.delivery.seq != 0:
			l.receiver.Ack(r.delivery.seq)
		}
	}
	b.acks.later = slices.Delete(b.acks.later, 0, n)
}
