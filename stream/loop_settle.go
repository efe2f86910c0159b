package stream

import (
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// The methods here settle deliveries in other ways than by Ack: they warn of deliveries that wait
// for it, postpone those that were requeued, and drop those of Subscriptions that have ended.

// arrived records the delivery of a message to an inbox.
func (l *loop) arrived(d *Delivery, box *inbox) {
	if d.QoS == frames.AtMostOnce {
		return
	}
	if l.receiver.waits == nil {
		l.receiver.waits = &ackWaits{limit: l.settings.slowConsumer}
	}
	l.receiver.waits.add(d.seq, arrival{topic: d.Topic, inbox: box, at: l.clock.now})
}

// warnOfHeldAcks warns when a delivery has held back the acks of later ones for long. It returns
// the time of the next check, 0 for none.
func (l *loop) warnOfHeldAcks() time.Duration {
	w := l.receiver.waits
	from, to := l.receiver.Waits()
	a, ok := w.oldest(from, to)
	if !ok || w.limit == 0 {
		return 0
	}
	warn, next := w.check(l.clock.now, from, a)
	if warn {
		l.logHeldAcks(from, a)
	}
	return next
}

func (l *loop) logHeldAcks(seq uint64, a arrival) {
	box, unread := l.inboxes.holder(seq)
	if box == nil {
		box = a.inbox
		if sets := l.subs.Lookup(a.topic); (box == nil || box == l.inboxes.unclaimed) && len(sets) > 0 {
			box = sets[0].inbox // has claimed the message since
		}
	}
	text := "a consumer does not acknowledge a message that it has received, which holds back the acks of all later messages"
	switch {
	case box == nil || box == l.inboxes.unclaimed:
		text = "no Subscription claims a message, which holds back the acks of all later messages: subscribe, " +
			"take the messages of the client, or set DiscardUnclaimed"
	case unread > 0:
		text = "nobody receives the messages of a Subscription, which holds back the acks of all later messages: " +
			"receive them, or call Unsubscribe"
	}
	var filters []string
	if box != nil {
		filters = box.filters
	}
	l.log.Warn(text, "filters", filters, "topic", a.topic, "age", l.clock.now-a.at, "unread", unread,
		"unacked", l.receiver.Unacked())
}

// postpone postpones the deliveries that consumers do not want now. A delivery that was
// acknowledged before stays so.
func (l *loop) postpone(requeues []requeue) {
	for _, r := range requeues {
		d := &r.delivery
		if d.seq != 0 && !l.receiver.Open(d.seq) {
			l.inboxes.forgetRequeue(d)
			continue
		}
		r.due = max(1, l.clock.now+r.after) // 0 is none
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
	list, n := b.postponed.list, 0
	for ; n < len(list) && list[n].due <= l.clock.now; n++ {
		b.unpostpone(&list[n])
	}
	due := slices.Clone(list[:n])
	b.postponed.list = slices.Delete(list, 0, n)
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
			l.receiver.Ack(r.delivery.seq)
		}
	}
}

// discard acknowledges and drops the messages that wait in the inbox of a Subscription that is
// unsubscribed, and closes its channels.
func (l *loop) discard(set *filterSet) {
	set.inbox.leave()
	set.inbox.recall()
	dropped := func(d *Delivery) {
		l.count.discarded++
		if d.seq != 0 {
			l.receiver.Ack(d.seq)
		}
	}
	l.inboxes.drop(set.inbox, func(*slot) bool { return true }, dropped)
	l.inboxes.dropPostponed(set.inbox, dropped)
	set.inbox.finish(nil)
}
