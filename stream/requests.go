package stream

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

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

// sendRequests puts the queued packets into the batch.
func (l *loop) sendRequests() {
	for len(l.subs.queue) > 0 {
		id, ok := l.ids.AcquireHigh(-1)
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
func (l *loop) suback(id uint16, codes []frames.ReasonCode) {
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
		if code >= frames.UnspecifiedError {
			sub.refused = append(sub.refused, sub.filters[r.first+i])
		}
		sub.granted[r.first+i] = frames.QoS(code)
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
