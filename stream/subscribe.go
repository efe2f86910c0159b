package stream

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// subscriptions is the loop's part of subscribing: what is desired, and the
// packets that bring the broker there.
type subscriptions struct {
	routes  routes
	desired []*Subscription // asking and active ones
	leaving []*Subscription
	queue   []*request          // to be sent
	asked   map[uint16]*request // sent, by packet identifier
	sent    uint64              // how many have been

	left  []string            // filters given up, newest last: what still comes for them is dropped
	noted map[string]struct{} // unclaimed topics that were logged
}

// A request is one SUBSCRIBE or UNSUBSCRIBE packet.
type request struct {
	sub     *Subscription // nil: nobody waits for it
	first   int           // SUBSCRIBE: the place of filters in the Subscription's
	filters []frames.Filter
	topics  []string // UNSUBSCRIBE

	number   uint64        // in the order of sending
	due      time.Duration // with Retry
	attempts int
}

const (
	requestFilters = 256      // a SUBSCRIBE holds at most so many filters,
	requestBytes   = 16 << 10 // and about so many bytes: brokers limit both
	maxLeft        = 256
	maxNoted       = 1024
)

func (l *loop) subscribe(sub *Subscription) {
	l.subs.desired = append(l.subs.desired, sub)
	for _, f := range sub.filters {
		l.subs.routes.add(f, sub)
	}
	l.claim(l.s.unclaimed, sub)
	if l.online {
		l.ask(sub)
	}
}

// claim gives sub what waits in another inbox and is for it.
func (l *loop) claim(from *inbox, sub *Subscription) {
	l.s.boxes.move(from, sub.box, func(d *Delivery) bool {
		return slices.Contains(l.subs.routes.lookup(d.Topic), sub)
	})
}

// ask queues the SUBSCRIBE packets of sub, split as brokers take them.
func (l *loop) ask(sub *Subscription) {
	sub.open, sub.refused = 0, nil
	size := 0
	var r *request
	for i, f := range sub.filters {
		f.QoS = l.highest(f)
		if r == nil || len(r.filters) == requestFilters || size+len(f.Topic) > requestBytes {
			r = &request{sub: sub, first: i}
			size = 0
			sub.open++
			l.subs.queue = append(l.subs.queue, r)
		}
		r.filters = append(r.filters, f)
		size += len(f.Topic) + 3
	}
}

// highest is the QoS to ask for: the broker keeps one QoS for a filter, the one
// it was asked for last [MQTT-3.8.4-3], and another Subscription may need more.
func (l *loop) highest(f frames.Filter) frames.QoS {
	q := f.QoS
	for _, o := range l.sharing(f.Topic, nil) {
		q = max(q, o.QoS)
	}
	return q
}

// sharing returns the filters of desired Subscriptions but one that are equal to topic.
func (l *loop) sharing(topic string, but *Subscription) (same []frames.Filter) {
	at := l.subs.routes.find(topic, false)
	if at == nil {
		return nil
	}
	for _, r := range *at {
		if r.filter.Topic == topic && r.sub != but && r.sub.state <= active {
			same = append(same, r.filter)
		}
	}
	return same
}

// sendRequests puts the queued packets into the batch.
func (l *loop) sendRequests() {
	for len(l.subs.queue) > 0 {
		id, ok := l.ids.Acquire(-1)
		if !ok {
			return
		}
		r := l.subs.queue[0]
		l.subs.queue = l.subs.queue[1:]
		if l.subs.asked == nil {
			l.subs.asked = make(map[uint16]*request)
		}
		l.subs.asked[id] = r
		l.subs.sent++
		r.number = l.subs.sent
		l.sendRequest(id, r, false)
	}
	l.subs.queue = nil
}

func (l *loop) sendRequest(id uint16, r *request, again bool) {
	dup := again && l.s.options.Version == frames.V31 // reserved bits on 3.1.1
	var p frames.Packet = frames.Subscribe{ID: id, DUP: dup, Filters: r.filters}
	var filters any = r.filters
	if r.topics != nil {
		p = frames.Unsubscribe{ID: id, DUP: dup, Topics: r.topics}
		filters = r.topics
	}
	before := len(l.next.bytes)
	l.next.bytes = must(p.Append(l.next.bytes, l.s.options.Version))
	if l.s.options.Retry != nil {
		r.due = l.now + l.s.options.Retry.Control(r.attempts)
	}
	if l.debug {
		l.log.Debug("sent", "type", p.Type().String(), "id", id, "DUP", dup, "filters", filters, "size", len(l.next.bytes)-before)
	}
}

// retryRequests sends what is overdue again and returns when the next will be.
// The order is that of the first time: what was asked for last counts.
func (l *loop) retryRequests() (next time.Duration, ok bool) {
	var overdue []uint16
	for id, r := range l.subs.asked {
		if r.due <= l.now {
			overdue = append(overdue, id)
		}
	}
	slices.SortFunc(overdue, func(a, b uint16) int { return cmp.Compare(l.subs.asked[a].number, l.subs.asked[b].number) })
	for _, id := range overdue {
		r := l.subs.asked[id]
		r.attempts = min(r.attempts+1, 63)
		l.sendRequest(id, r, true)
	}
	for _, r := range l.subs.asked {
		if !ok || r.due < next {
			next, ok = r.due, true
		}
	}
	return next, ok
}

// suback takes the broker's answer to a SUBSCRIBE: a code for each filter, in
// their order [MQTT-3.8.4-5] [MQTT-3.9.3-1].
func (l *loop) suback(id uint16, codes []frames.QoS) {
	r := l.subs.asked[id]
	switch {
	case r == nil || r.topics != nil:
		l.fail(&frames.ProtocolError{Type: frames.TypeSuback, Reason: fmt.Sprintf("for packet identifier %d, which no SUBSCRIBE has", id)})
		return
	case len(codes) != len(r.filters):
		l.fail(&frames.ProtocolError{Type: frames.TypeSuback, Reason: fmt.Sprintf("has %d return codes for %d filters", len(codes), len(r.filters))})
		return
	}
	l.answered(id)
	sub := r.sub
	l.s.boxes.mu.Lock()
	for i, code := range codes {
		if code == frames.Refused {
			sub.refused = append(sub.refused, sub.filters[r.first+i])
		}
		sub.granted[r.first+i] = code
	}
	l.s.boxes.mu.Unlock()
	if sub.state > active {
		return // and open counts UNSUBSCRIBE now
	}
	if sub.open--; sub.open > 0 {
		return
	}
	if len(sub.refused) > 0 {
		l.refuse(sub, &RefusedError{Filters: sub.refused})
		return
	}
	if sub.state == asking {
		sub.state = active
		sub.reply <- nil
	}
}

func (l *loop) unsuback(id uint16) {
	r := l.subs.asked[id]
	if r == nil || r.topics == nil {
		l.fail(&frames.ProtocolError{Type: frames.TypeUnsuback, Reason: fmt.Sprintf("for packet identifier %d, which no UNSUBSCRIBE has", id)})
		return
	}
	l.answered(id)
	if r.sub != nil {
		if r.sub.open--; r.sub.open == 0 {
			l.leave(r.sub)
		}
	}
}

func (l *loop) answered(id uint16) {
	delete(l.subs.asked, id)
	l.ids.Release(id)
}

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
		if len(l.sharing(f.Topic, sub)) == 0 {
			l.subs.left = append(l.subs.left, f.Topic)
		}
	}
	if n := len(l.subs.left) - maxLeft; n > 0 {
		l.subs.left = slices.Delete(l.subs.left, 0, n)
	}
}

// returnUnclaimed gives back what a Subscription that never was had claimed. Who
// has a copy or has come since does not leave it unclaimed.
func (l *loop) returnUnclaimed(sub *Subscription) {
	l.s.boxes.dropShared(sub.box, func(d *Delivery) {
		if d.settler != nil {
			l.receiver.Settle(d.seq)
		}
	})
	for _, other := range l.subs.desired {
		l.claim(sub.box, other)
	}
	l.s.boxes.move(sub.box, l.s.unclaimed, func(*Delivery) bool { return true })
}

// hasLeft reports whether topic belongs to a filter that was unsubscribed.
func (l *loop) hasLeft(topic string) bool {
	return slices.ContainsFunc(l.subs.left, func(f string) bool { return frames.Match(f, topic) })
}

// restore queues what a new connection needs: everything desired when the
// broker has no session of ours, otherwise only what it has not answered.
func (l *loop) restore(resumed bool) {
	for _, sub := range l.subs.desired {
		if sub.open > 0 || sub.state == asking || !resumed || l.s.options.Version == frames.V31 {
			l.ask(sub)
		}
	}
	for _, sub := range slices.Clone(l.subs.leaving) {
		sub.open = 0
		if resumed {
			l.withdrawFilters(sub, sub)
		}
		if sub.open == 0 {
			l.leave(sub)
		}
	}
}

// lostRequests forgets the packets of the connection that is gone. UNSUBSCRIBE
// that nobody waits for is repeated as long as the broker keeps the session, for
// the filters that are not wanted again.
func (l *loop) lostRequests() {
	var again []*request
	repeat := func(r *request) {
		if r.sub != nil || !l.s.options.KeepSession {
			return
		}
		r.topics = slices.DeleteFunc(r.topics, func(topic string) bool { return len(l.sharing(topic, nil)) > 0 })
		if len(r.topics) > 0 {
			again = append(again, r)
		}
	}
	for id, r := range l.subs.asked {
		l.ids.Release(id)
		repeat(r)
	}
	clear(l.subs.asked)
	for _, r := range l.subs.queue {
		repeat(r)
	}
	l.subs.queue = again
	if !l.s.options.KeepSession {
		for _, sub := range slices.Clone(l.subs.leaving) {
			l.leave(sub)
		}
	}
}
