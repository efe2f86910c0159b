package flow

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// requests holds the SUBSCRIBE and UNSUBSCRIBE packets of Subscriptions. The unsent packets are in
// queue, in order; the sent packets without an answer are in asked.
type requests[T comparable] struct {
	ids   *Identifiers
	retry *Retry // nil: no retransmission on a live connection

	queue []*request[T]
	asked map[uint16]*request[T] // by packet identifier
	sent  uint64                 // how many packets were sent
}

type request[T comparable] struct {
	sub     *subscription[T] // nil: no owner waits for the answer
	first   int              // SUBSCRIBE: the index of filters[0] in sub.filters
	filters []frames.Filter  // SUBSCRIBE
	topics  []string         // UNSUBSCRIBE

	size     int           // the bytes that the filters or topics take
	number   uint64        // the position in the order of sending
	due      time.Duration // with retry: when to send it again
	attempts int
}

// The limits for the number of filters in a packet and for their bytes. Brokers have such limits.
const (
	requestFilters = 256
	requestBytes   = 16 << 10
)

// fits reports whether r has room for filter. A nil request has no room.
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

// Packet returns the packet of the request. In MQTT 3.1 it has a DUP flag; in 3.1.1 the flag bits
// are reserved.
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

// next removes the first packet from the queue and gives it an identifier. It returns false when
// the queue is empty or no identifier is free.
func (r *requests[T]) next(now time.Duration) (Request, bool) {
	if len(r.queue) == 0 {
		r.queue = nil // frees the memory of the slice
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

// overdue sends again the packets whose answer is overdue at now, in the order in which they were
// first sent, since the last SUBSCRIBE for a filter decides its QoS. It returns the time at which
// the next answer will be overdue, or false when no answer is awaited.
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

// answered removes the request with the identifier id.
func (r *requests[T]) answered(id uint16) {
	delete(r.asked, id)
	r.ids.Release(id)
}

// drop removes the packets of sub from the queue.
func (r *requests[T]) drop(sub *subscription[T]) {
	r.queue = slices.DeleteFunc(r.queue, func(q *request[T]) bool { return q.sub == sub })
}

// lost discards all requests, sent or queued, unless repeat returns true for a request. The
// repeated requests are queued for the next connection.
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

// Next returns the next packet to send, or false when there is none.
func (s *Subscriptions[T]) Next(now time.Duration) (Request, bool) { return s.requests.next(now) }

// Overdue passes each packet whose answer is overdue at now to send. It returns the time at which
// the next answer will be overdue, or false when no answer is awaited. Call Overdue only if Retry
// is set.
func (s *Subscriptions[T]) Overdue(now time.Duration, send func(Request)) (next time.Duration, ok bool) {
	return s.requests.overdue(now, send)
}

// Answer is the effect of a SUBACK on the owner of the filters.
type Answer[T comparable] struct {
	Owner T
	First int // the index, among the owner's filters, of the filter for Codes[0]
	Codes []frames.ReasonCode

	Result  Result
	Refused []frames.Filter // the refused filters, if Result is Rejected or Revoked
}

// Result is the effect of an answer on its owner.
type Result byte

const (
	Unchanged Result = iota // more answers are awaited, or the owner was active before, or is leaving or gone
	Granted                 // all filters of an asking owner are granted, and the owner is active
	Rejected                // a filter of an asking owner was refused, and the owner has ended
	Revoked                 // a filter of an active owner was refused on a new connection, and the owner has ended
)

// Suback handles the broker's answer to a SUBSCRIBE. It has one code for each filter, in the order
// of the filters [MQTT-3.8.4-5] [MQTT-3.9.3-1]. If the owner ends because of a refusal, UNSUBSCRIBE
// is queued for the filters that the broker has granted.
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
		return a, nil // here open counts UNSUBSCRIBE packets
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

// Unsuback handles the broker's answer to an UNSUBSCRIBE. It returns the owner, and whether the
// owner has ended.
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
