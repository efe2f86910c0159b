package flow

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Answer is the effect of the broker's answers on an owner.
type Answer[T comparable] struct {
	Owner   T
	Result  Result
	Refused []frames.Filter     // the refused filters of the owner, in order
	Codes   []frames.ReasonCode // of the refused filters
}

// Result is the effect of answers on their owner.
type Result byte

const (
	_        Result = iota
	Granted         // all filters are granted, and the owner is active
	Partly          // some filters of an owner that lives on are refused, and the owner is active
	Rejected        // a filter of an asking owner was refused, and the owner has ended
	Revoked         // a new connection brought a refusal for an active owner, which has ended
)

// Suback handles the broker's answer to a SUBSCRIBE. It has one code for each filter, in the order
// of the filters [MQTT-3.8.4-5] [MQTT-3.9.3-1]. For each filter of an owner, answered is called
// with the index of the filter and its code. Suback returns the owners that have all their answers
// now, except active owners whose filters are all granted again. A second or late answer has no
// effect.
func (s *Subscriptions[T]) Suback(id uint16, codes []frames.ReasonCode,
	answered func(owner T, index int, code frames.ReasonCode)) (answers []Answer[T], err error) {
	q := s.requests.asked[id]
	switch {
	case q == nil && s.requests.resent[id]:
		return nil, nil
	case q == nil || q.change != subscribe:
		return nil, violation(frames.TypeSuback, "for packet identifier %d, which no SUBSCRIBE has", id)
	case len(codes) != len(q.filters):
		return nil, violation(frames.TypeSuback, "has %d return codes for %d filters", len(codes), len(q.filters))
	}
	s.requests.answered(q)
	var complete []*subscription[T]
	for i, x := range q.filters {
		s.hold(x, q, codes[i])
		for _, w := range x.wants {
			if w.answer != asked || w.by != q.number {
				continue
			}
			w.answer, w.code = refused, codes[i]
			if codes[i] < frames.UnspecifiedError {
				w.answer, x.withdrawn = granted, false
			}
			answered(w.sub.owner, w.index, codes[i])
			if w.sub.open--; w.sub.open == 0 {
				complete = append(complete, w.sub)
			}
		}
	}
	for _, sub := range complete {
		if a := s.complete(sub); a.Result != 0 {
			answers = append(answers, a)
		}
	}
	for _, x := range q.filters {
		s.update(x, x.by)
	}
	return answers, nil
}

// hold records the answer to the SUBSCRIBE q for x. A refusal leaves an earlier subscription to the
// filter in place.
func (s *Subscriptions[T]) hold(x *filter[T], q *request[T], code frames.ReasonCode) {
	if x.last == q {
		x.last = nil
	}
	x.identified(q, code < frames.UnspecifiedError)
	switch {
	case q.number < x.unsubscribed:
	case code < frames.UnspecifiedError:
		x.held = present
	case x.held == maybe && !s.requests.mayGrant(x):
		x.held = absent
	}
}

// mayGrant reports whether an unanswered SUBSCRIBE has x.
func (r *requests[T]) mayGrant(x *filter[T]) bool {
	if x.requests == 0 {
		return false
	}
	for _, q := range r.asked {
		if q.change == subscribe && q.number > x.unsubscribed && slices.Contains(q.filters, x) {
			return true
		}
	}
	return false
}

// complete handles the last answer for an owner.
func (s *Subscriptions[T]) complete(sub *subscription[T]) Answer[T] {
	a := Answer[T]{Owner: sub.owner}
	a.Refused, a.Codes = s.Refused(sub.owner)
	asks := sub.phase == asking
	switch {
	case len(a.Refused) == 0:
		sub.phase = active
		if asks || sub.each {
			a.Result = Granted
		}
	case sub.each:
		sub.phase, a.Result = active, Partly
	default:
		a.Result = Revoked
		if asks {
			a.Result = Rejected
		}
		s.end(sub)
	}
	return a
}

// Refused returns the filters of an owner that the broker has refused on this connection, in order,
// and their reason codes.
func (s *Subscriptions[T]) Refused(owner T) (list []frames.Filter, codes []frames.ReasonCode) {
	sub := s.owners[owner]
	if sub == nil {
		return nil, nil
	}
	for i := range sub.wants {
		if w := &sub.wants[i]; w.answer == refused {
			list, codes = append(list, w.asks), append(codes, w.code)
		}
	}
	return list, codes
}

// Unsuback handles the broker's answer to an UNSUBSCRIBE. It has one code for each filter; before
// MQTT 5 codes is nil. Ended reports the owners that end by it. A filter whose UNSUBSCRIBE is
// refused counts as unsubscribed, since to ask again would bring the same answer.
func (s *Subscriptions[T]) Unsuback(id uint16, codes []frames.ReasonCode) error {
	q := s.requests.asked[id]
	switch {
	case q == nil && s.requests.resent[id]:
		return nil
	case q == nil || q.change != unsubscribe:
		return violation(frames.TypeUnsuback, "for packet identifier %d, which no UNSUBSCRIBE has", id)
	case codes != nil && len(codes) != len(q.filters):
		return violation(frames.TypeUnsuback, "has %d reason codes for %d filters", len(codes), len(q.filters))
	}
	s.requests.answered(q)
	for i, x := range q.filters {
		if x.last == q { // otherwise it was asked for again
			x.last, x.held, x.withdrawn = nil, absent, false
		}
		if x.unsubscribed == q.number { // otherwise the owners wait for a later answer
			if codes != nil {
				x.refuseUnsubscribe(codes[i])
			}
			s.answerWaiting(x)
		}
		s.update(x, x.by)
	}
	return nil
}

// refuseUnsubscribe records the code of an UNSUBACK for the owners that wait for it.
func (x *filter[T]) refuseUnsubscribe(code frames.ReasonCode) {
	for _, sub := range x.waiting {
		if code >= frames.UnspecifiedError {
			sub.code = max(sub.code, code)
		}
	}
}

func violation(t frames.Type, format string, args ...any) error {
	return &frames.ProtocolError{Type: t, Reason: fmt.Sprintf(format, args...)}
}

// Pinged records that a PINGREQ was sent.
func (s *Subscriptions[T]) Pinged() { s.requests.pings++ }

// Ponged records a PINGRESP.
func (s *Subscriptions[T]) Ponged() { s.requests.pongs++ }

// Unanswered is an owner that has ended because the broker does not answer.
type Unanswered[T comparable] struct {
	Owner T
	Type  frames.Type // TypeSubscribe or TypeUnsubscribe
}

// Lapse gives up the packets that have no answer for limit although the broker has answered a
// PINGREQ after them. It returns the asking owners of such a SUBSCRIBE and the leaving owners of
// such an UNSUBSCRIBE, which have ended. Active owners, and owners that live on when a filter is
// refused, keep waiting. If ping is set, a PINGREQ is due. At the time next, if it is not 0, Lapse
// is to be called again.
func (s *Subscriptions[T]) Lapse(now, limit time.Duration) (ended []Unanswered[T], ping bool, next time.Duration) {
	r := &s.requests
	for _, q := range r.unanswered() {
		at := q.sentAt + limit
		switch {
		case now < at:
			if next == 0 || at < next {
				next = at
			}
		case r.pings < q.ping:
			ping = true
		case r.pongs >= q.ping:
			q.lapsed = true
			r.lapsed++
			ended = append(ended, s.endUnanswered(q)...)
		}
	}
	return ended, ping, next
}

// endUnanswered ends the owners that wait for the answer to q only.
func (s *Subscriptions[T]) endUnanswered(q *request[T]) (ended []Unanswered[T]) {
	for _, x := range q.filters {
		if q.change == unsubscribe {
			for _, sub := range x.waiting {
				if sub.phase == leaving {
					ended = append(ended, Unanswered[T]{sub.owner, frames.TypeUnsubscribe})
					s.end(sub)
				}
			}
			x.waiting = nil
			continue
		}
		for _, w := range slices.Clone(x.wants) {
			if w.by == q.number && w.answer == asked && w.sub.phase == asking && !w.sub.each {
				ended = append(ended, Unanswered[T]{w.sub.owner, frames.TypeSubscribe})
				s.end(w.sub)
			}
		}
	}
	return ended
}

// Awaits reports whether an owner waits for the answer to a sent packet, and when the oldest such
// packet was sent.
func (s *Subscriptions[T]) Awaits(owner T) (sentAt time.Duration, ok bool) {
	sub := s.owners[owner]
	for _, q := range s.requests.unanswered() {
		for _, x := range q.filters {
			if slices.Contains(x.waiting, sub) ||
				slices.ContainsFunc(x.wants, func(w *want[T]) bool { return w.sub == sub && w.by == q.number }) {
				return q.sentAt, true
			}
		}
	}
	return 0, false
}
