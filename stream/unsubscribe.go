package stream

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// refuse ends a Subscription of which the broker does not want a part.
func (l *loop) refuse(sub *Subscription, err error) {
	was := sub.state
	l.forget(sub)
	l.withdrawFilters(sub, nil)
	if was == asking {
		l.returnUnclaimed(sub)
		sub.reply <- err
	} else {
		l.log.Warn("subscription not restored", "error", err)
	}
	sub.box.finish(err)
}

// giveUp takes back a Subscription whose caller waits no longer.
func (l *loop) giveUp(sub *Subscription, cause error) {
	if sub.state != asking {
		return
	}
	l.forget(sub)
	l.subs.queue = slices.DeleteFunc(l.subs.queue, func(r *request) bool { return r.sub == sub })
	if l.online || l.s.options.KeepSession { // the broker's half of the session may have it
		l.withdrawFilters(sub, nil)
	}
	l.returnUnclaimed(sub)
	sub.box.finish(cause)
	sub.reply <- cause
}

// unsubscribe begins the end of a Subscription.
func (l *loop) unsubscribe(sub *Subscription, reply chan<- error) {
	if sub.state == gone {
		reply <- nil
		return
	}
	sub.leavers = append(sub.leavers, reply)
	if sub.state == leaving {
		return
	}
	sub.state, sub.open = leaving, 0
	l.subs.desired = slices.DeleteFunc(l.subs.desired, func(s *Subscription) bool { return s == sub })
	l.subs.leaving = append(l.subs.leaving, sub)
	l.subs.queue = slices.DeleteFunc(l.subs.queue, func(r *request) bool { return r.sub == sub })
	switch {
	case l.online:
		l.withdrawFilters(sub, sub)
	case l.s.options.KeepSession:
		return // the broker's half of the session has it: at the next connection
	}
	if sub.open == 0 {
		l.leave(sub)
	}
}

// withdrawFilters queues UNSUBSCRIBE for the filters of sub that the broker may
// hold and nobody else wants; waits is sub if it is to be told of the UNSUBACK.
func (l *loop) withdrawFilters(sub, waits *Subscription) {
	size := 0
	var r *request
	for _, f := range sub.filters {
		if slices.Contains(sub.refused, f) || len(l.sharing(f.Topic, sub)) > 0 {
			continue
		}
		if r == nil || len(r.topics) == requestFilters || size+len(f.Topic) > requestBytes {
			r = &request{sub: waits}
			size = 0
			l.subs.queue = append(l.subs.queue, r)
			if waits != nil {
				waits.open++
			}
		}
		r.topics = append(r.topics, f.Topic)
		size += len(f.Topic) + 2
		l.subs.left = append(l.subs.left, f.Topic)
	}
	if n := len(l.subs.left) - maxLeft; n > 0 {
		l.subs.left = slices.Delete(l.subs.left, 0, n)
	}
}

// leave ends a Subscription that was unsubscribed. Its channels hand over what
// has arrived, then close.
func (l *loop) leave(sub *Subscription) {
	l.subs.leaving = slices.DeleteFunc(l.subs.leaving, func(s *Subscription) bool { return s == sub })
	l.forget(sub)
	sub.box.finish(nil)
	for _, reply := range sub.leavers {
		reply <- nil
	}
	sub.leavers = nil
}

// forget takes sub out of what is desired and routed.
func (l *loop) forget(sub *Subscription) {
	sub.state = gone
	l.subs.desired = slices.DeleteFunc(l.subs.desired, func(s *Subscription) bool { return s == sub })
	for _, f := range sub.filters {
		l.subs.routes.remove(f, sub)
	}
}

// returnUnclaimed gives back what a Subscription that never was had claimed. Who
// has a copy or has come since does not leave it unclaimed; what came for its
// filters only is dropped, as what still comes for them will be.
func (l *loop) returnUnclaimed(sub *Subscription) {
	l.settleDropped(sub.box, func(n *node) bool { return n.shared })
	for _, other := range l.subs.desired {
		l.claim(sub.box, other)
	}
	l.stats.Discarded += l.settleDropped(sub.box, func(n *node) bool {
		return !n.claimed && l.unwanted(n.delivery.Topic)
	})
	l.s.boxes.move(sub.box, l.s.unclaimed, func(*Delivery) bool { return true })
}

// settleDropped removes from an inbox what is not to be handed over, and settles it.
func (l *loop) settleDropped(box *inbox, unwanted func(*node) bool) (n uint64) {
	l.s.boxes.drop(box, unwanted, func(d *Delivery) {
		n++
		if d.settler != nil {
			l.receiver.Settle(d.seq)
		}
	})
	return n
}

// unwanted reports whether a message that no Subscription claims is to be
// acknowledged and dropped [MQTT-4.5.0-2].
func (l *loop) unwanted(topic string) bool {
	return l.s.options.DiscardUnclaimed || l.hasLeft(topic)
}

// hasLeft reports whether topic belongs to a filter that was unsubscribed.
func (l *loop) hasLeft(topic string) bool {
	return slices.ContainsFunc(l.subs.left, func(f string) bool { return frames.Match(f, topic) })
}
