package flow

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// requests are the SUBSCRIBE and UNSUBSCRIBE packets of Subscriptions: a queue of unsent ones, in
// order, and the sent ones without an answer.
type requests[T comparable] struct {
	ids   *Identifiers
	retry *Retry // nil trusts the connection

	queue []*request[T]
	asked map[uint16]*request[T] // by packet identifier
	sent  uint64                 // how many were sent
}

type request[T comparable] struct {
	sub     *subscription[T] // nil: nobody waits for the answer
	first   int              // SUBSCRIBE: the index of filters[0] in those of sub
	filters []frames.Filter  // SUBSCRIBE
	topics  []string         // UNSUBSCRIBE

	size     int           // of the filters or topics, in bytes
	number   uint64        // in the order of sending
	due      time.Duration // with retry
	attempts int
}

// Brokers limit the filters and the bytes of a SUBSCRIBE and an UNSUBSCRIBE.
const (
	requestFilters = 256
	requestBytes   = 16 << 10
)

// fits reports whether the packet can have one more filter. A nil request has no room.
func (r *request[T]) fits(filter string) bool {
	return r != nil && len(r.filters)+len(r.topics) < requestFilters && r.size+len(filter) <= requestBytes
}

// Request is a SUBSCRIBE or an UNSUBSCRIBE to be sent.
type Request struct {
	ID      uint16
	Again   bool            // it was sent before on this connection
	Filters []frames.Filter // of a SUBSCRIBE
	Topics  []string        // of an UNSUBSCRIBE
}

// Packet returns the packet. Only 3.1 has a DUP flag for it: on 3.1.1 the bits are reserved.
func (r *Request) Packet(v frames.Version) frames.Packet {
	dup := r.Again && v == frames.V31
	if r.Topics != nil {
		return frames.Unsubscribe{ID: r.ID, DUP: dup, Topics: r.Topics}
	}
	return frames.Subscribe{ID: r.ID, DUP: dup, Filters: r.Filters}
}

// add puts a packet at the end of the queue.
func (r *requests[T]) add(q *request[T]) *request[T] {
	r.queue = append(r.queue, q)
	return q
}

// next gives the first packet in the queue an identifier and takes it out; false when there is
// none, or no identifier.
func (r *requests[T]) next(now time.Duration) (Request, bool) {
	if len(r.queue) == 0 {
		r.queue = nil // gives its memory back
		return Request{}, false
	}
	id, ok := r.ids.AcquireHigh(-1)
	if !ok {
		return Request{}, false
	}
	q := r.queue[0]
	r.queue = r.queue[1:]
	if r.asked == nil {
		r.asked = make(map[uint16]*request[T])
	}
	r.asked[id] = q
	r.sent++
	q.number = r.sent
	return r.send(id, q, false, now), true
}

func (r *requests[T]) send(id uint16, q *request[T], again bool, now time.Duration) Request {
	if r.retry != nil {
		q.due = now + r.retry.Control(q.attempts)
	}
	return Request{ID: id, Again: again, Filters: q.filters, Topics: q.topics}
}

// overdue sends again the packets whose answer is overdue at now, in the order of the first time,
// since the last SUBSCRIBE for a filter decides its QoS. It returns when the next one will be
// overdue; false when no answer is awaited.
func (r *requests[T]) overdue(now time.Duration, send func(Request)) (next time.Duration, ok bool) {
	var late []uint16
	for id, q := range r.asked {
		if q.due <= now {
			late = append(late, id)
		}
	}
	slices.SortFunc(late, func(a, b uint16) int { return cmp.Compare(r.asked[a].number, r.asked[b].number) })
	for _, id := range late {
		q := r.asked[id]
		q.attempts = min(q.attempts+1, 63)
		send(r.send(id, q, true, now))
	}
	for _, q := range r.asked {
		if !ok || q.due < next {
			next, ok = q.due, true
		}
	}
	return next, ok
}

// answered takes the request out that has the identifier id.
func (r *requests[T]) answered(id uint16) {
	delete(r.asked, id)
	r.ids.Release(id)
}

// drop takes the packets of sub out of the queue.
func (r *requests[T]) drop(sub *subscription[T]) {
	r.queue = slices.DeleteFunc(r.queue, func(q *request[T]) bool { return q.sub == sub })
}

// lost empties the queue and forgets the requests that were sent, except those to be repeated on
// the next connection.
func (r *requests[T]) lost(repeat func(*request[T]) bool) {
	var again []*request[T]
	for id, q := range r.asked {
		r.ids.Release(id)
		if repeat(q) {
			again = append(again, q)
		}
	}
	clear(r.asked)
	for _, q := range r.queue {
		if repeat(q) {
			again = append(again, q)
		}
	}
	r.queue = again
}

// UnderWay returns how many SUBSCRIBE and UNSUBSCRIBE packets have no answer yet.
func (s *Subscriptions[T]) UnderWay() int { return len(s.requests.asked) }

// Next returns the next packet that is due, in order; false when there is none.
func (s *Subscriptions[T]) Next(now time.Duration) (Request, bool) { return s.requests.next(now) }

// Overdue passes on each packet whose answer is overdue at now and returns when the next one will
// be; false when no answer is awaited. It is for a Subscriptions with Retry.
func (s *Subscriptions[T]) Overdue(now time.Duration, send func(Request)) (next time.Duration, ok bool) {
	return s.requests.overdue(now, send)
}

// Answer is the meaning of a SUBACK for the owner that asked.
type Answer[T comparable] struct {
	Owner T
	First int // the index among the owner's filters to which the first code belongs
	Codes []frames.ReasonCode

	Result  Result
	Refused []frames.Filter // with Rejected and Revoked
}

// Result is the effect of an answer on its owner.
type Result byte

const (
	Unchanged Result = iota // more answers are to come, or the owner is active already, or ended
	Granted                 // all filters of an asking owner are granted: it is active
	Rejected                // a filter of an asking owner was refused: it has ended
	Revoked                 // a filter of an active owner was refused on a new connection: it has ended
)

// Suback takes the broker's answer to a SUBSCRIBE: a code for each filter, in their order
// [MQTT-3.8.4-5] [MQTT-3.9.3-1]. When an owner ends by it, the filters that the broker has granted
// are withdrawn.
func (s *Subscriptions[T]) Suback(id uint16, codes []frames.ReasonCode) (Answer[T], error) {
	r := s.requests.asked[id]
	switch {
	case r == nil || r.topics != nil:
		return Answer[T]{}, violation(frames.TypeSuback, "for packet identifier %d, which no SUBSCRIBE has", id)
	case len(codes) != len(r.filters):
		return Answer[T]{}, violation(frames.TypeSuback, "has %d return codes for %d filters", len(codes), len(r.filters))
	}
	s.requests.answered(id)
	sub := r.sub
	for i, code := range codes {
		if code >= frames.UnspecifiedError {
			sub.refused = append(sub.refused, sub.filters[r.first+i])
		}
	}
	a := Answer[T]{Owner: sub.owner, First: r.first, Codes: codes}
	if sub.phase > active {
		return a, nil // and open counts UNSUBSCRIBE packets now
	}
	if sub.open--; sub.open > 0 {
		return a, nil
	}
	asks := sub.phase == asking
	switch {
	case len(sub.refused) == 0 && asks:
		sub.phase, a.Result = active, Granted
	case len(sub.refused) == 0:
	default:
		a.Result, a.Refused = Revoked, sub.refused
		if asks {
			a.Result = Rejected
		}
		s.end(sub)
		s.withdraw(sub, nil)
	}
	return a, nil
}

// Unsuback takes the broker's answer to an UNSUBSCRIBE. It reports whether the owner has ended by
// it.
func (s *Subscriptions[T]) Unsuback(id uint16) (owner T, ended bool, err error) {
	r := s.requests.asked[id]
	if r == nil || r.topics == nil {
		return owner, false, violation(frames.TypeUnsuback, "for packet identifier %d, which no UNSUBSCRIBE has", id)
	}
	s.requests.answered(id)
	if r.sub == nil {
		return owner, false, nil
	}
	r.sub.open--
	return r.sub.owner, s.endIfAnswered(r.sub), nil
}

func violation(t frames.Type, format string, args ...any) error {
	return &frames.ProtocolError{Type: t, Reason: fmt.Sprintf(format, args...)}
}
