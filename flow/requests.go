package flow

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// requests holds the filters that need a SUBSCRIBE or UNSUBSCRIBE in queue, in order, and the sent
// packets without an answer in asked. A packet that is unanswered for long lapses: nobody waits for
// its answer any more. It keeps its identifier until the answer comes or the connection ends, since
// a late answer must not be taken for the answer to another packet.
type requests[T comparable] struct {
	ids   *Identifiers
	retry *Retry // nil: no retransmission on a live connection

	queue  []*filter[T]
	asked  map[uint16]*request[T] // by packet identifier
	resent map[uint16]bool        // packets sent twice and answered once: a second answer may come
	sent   uint64                 // how many packets were sent

	lapsed       int32 // how many packets in asked have lapsed
	pings, pongs int32 // PINGREQ and PINGRESP on this connection

	refuse func(frames.Filter, uint32) error // see Subscriptions.Limit; nil: none is refused
	packet int32                             // the bytes that a packet may take
}

// A request is a packet without an answer.
type request[T comparable] struct {
	change  change
	filters []*filter[T]
	packet  Request
	size    int    // the bytes that the filters take
	number  uint64 // the position in the order of sending

	sentAt   time.Duration
	ping     int32         // the number of the first PINGREQ after it
	lapsed   bool          // nobody waits for the answer any more
	due      time.Duration // with retry: when to send it again
	attempts int
}

// Limits of a packet and of the number of packets without an answer. Brokers have such limits too:
// AWS IoT Core closes the connection at the ninth filter of a packet.
const (
	requestFilters = 8
	requestBytes   = 16 << 10
	maxUnanswered  = 64

	// requestOverhead is the largest size of a packet without its filters: the fixed header, the
	// identifier, on MQTT 5 the properties with a subscription identifier, and the length and
	// options of the last filter.
	requestOverhead = 5 + 2 + 6 + 3
)

// fits reports whether q has room for a filter.
func (r *requests[T]) fits(q *request[T], filter string) bool {
	return len(q.filters) == 0 || len(q.filters) < requestFilters && q.size+len(filter) <= min(requestBytes, int(r.packet)-requestOverhead)
}

// add adds a filter to the packet.
func (q *request[T]) add(x *filter[T]) {
	q.filters = append(q.filters, x)
	x.last = q
	x.requests++
	if q.change == unsubscribe {
		q.packet.Topics = append(q.packet.Topics, x.topic)
		q.size += len(x.topic) + 2
		x.unsubscribed = q.number
		return
	}
	q.packet.Filters = append(q.packet.Filters, x.merged())
	x.ask(q)
	for _, w := range x.wants {
		if w.answer == due {
			w.answer, w.by = asked, q.number
		}
	}
	q.size += len(x.topic) + 3
	if x.held == absent {
		x.held = maybe
	}
}

// merged returns the filter of a SUBSCRIBE for x, which serves all owners that want x: the broker
// keeps the options of the last SUBSCRIBE [MQTT-3.8.4-3]. No owner misses a message for another
// one. The retained messages come as the owners without an answer ask for them.
func (x *filter[T]) merged() frames.Filter {
	f := frames.Filter{Topic: x.topic, NoLocal: true, RetainHandling: frames.SendNoRetained}
	for _, w := range x.wants {
		f.QoS = max(f.QoS, w.asks.QoS)
		f.NoLocal = f.NoLocal && w.asks.NoLocal
		f.RetainAsPublished = f.RetainAsPublished || w.asks.RetainAsPublished
		if w.answer == due {
			f.RetainHandling = min(f.RetainHandling, w.asks.RetainHandling)
		}
	}
	return f
}

// refusal returns the reason why x cannot be asked for on this connection.
func (r *requests[T]) refusal(x *filter[T]) error {
	switch {
	case r.refuse == nil:
		return nil
	case x.change() == subscribe:
		return r.refuse(x.merged(), x.asks().id)
	case requestOverhead+len(x.topic) <= int(r.packet): // the usual case
		return nil
	}
	alone := frames.Unsubscribe{ID: 1, Topics: []string{x.topic}}
	if bytes, err := alone.Append(nil, frames.V5); err != nil || len(bytes) > int(r.packet) {
		return frames.PacketTooLarge
	}
	return nil
}

// superseded reports whether a later request has one of the filters. To send q again then would
// undo the later request.
func (q *request[T]) superseded() bool {
	return slices.ContainsFunc(q.filters, func(x *filter[T]) bool { return x.last != q })
}

// Request is a SUBSCRIBE or an UNSUBSCRIBE to be sent.
type Request struct {
	ID      uint16
	Again   bool            // it was sent before on this connection
	Filters []frames.Filter // of a SUBSCRIBE
	Topics  []string        // of an UNSUBSCRIBE

	Identifier uint32 // MQTT 5: the subscription identifier of a SUBSCRIBE
	Refused    error  // the packet must not be sent; call Suback with codes above 0x7F
}

// RefusalCodes returns the codes with which Suback is to be called for a refused request.
func (r *Request) RefusalCodes() []frames.ReasonCode {
	return slices.Repeat([]frames.ReasonCode{frames.CodeOf(r.Refused)}, len(r.Filters))
}

// Packet returns the packet of the request. In MQTT 3.1 it has a DUP flag; in 3.1.1 the flag bits
// are reserved. The identifier is left out unless identified is set.
func (r *Request) Packet(v frames.Version, identified bool) frames.Packet {
	dup := r.Again && v == frames.V31
	if r.Topics != nil {
		return frames.Unsubscribe{ID: r.ID, DUP: dup, Topics: r.Topics}
	}
	p := frames.Subscribe{ID: r.ID, DUP: dup, Filters: r.Filters}
	if identified {
		p.Identifier = r.Identifier
	}
	return p
}

// enqueue puts a filter at the end of the queue, unless it is in the queue.
func (r *requests[T]) enqueue(x *filter[T], by *subscription[T]) {
	x.by = by
	if !x.queued {
		x.queued = true
		r.queue = append(r.queue, x)
	}
}

// dequeue removes a filter from the queue.
func (r *requests[T]) dequeue(x *filter[T]) {
	if x.queued {
		x.queued = false
		r.queue = slices.DeleteFunc(r.queue, func(o *filter[T]) bool { return o == x })
	}
}

// next returns the packet for the filters at the front of the queue. It returns false when the
// queue is empty, no identifier is free, or too many packets have no answer.
func (r *requests[T]) next(now time.Duration) (Request, bool) {
	if len(r.queue) == 0 {
		r.queue = nil // frees the memory of the slice
		return Request{}, false
	}
	if len(r.asked) >= maxUnanswered {
		return Request{}, false
	}
	id, ok := r.ids.AcquireHigh(-1)
	if !ok {
		return Request{}, false
	}
	r.sent++
	first := r.queue[0]
	q := &request[T]{change: first.change(), packet: Request{ID: id}, number: r.sent, sentAt: now, ping: r.pings + 1}
	by := first.asks()
	if q.packet.Refused = r.refusal(first); q.change == subscribe {
		q.packet.Identifier = by.id
	}
	for len(r.queue) > 0 {
		x := r.queue[0]
		if x.change() != q.change || x.asks() != by || !r.fits(q, x.topic) {
			break
		}
		if x != first && (q.packet.Refused != nil || r.refusal(x) != nil) {
			break
		}
		r.queue, x.queued = r.queue[1:], false
		q.add(x)
	}
	if r.asked == nil {
		r.asked = make(map[uint16]*request[T])
	}
	r.asked[id] = q
	delete(r.resent, id)
	if r.retry != nil {
		q.due = now + r.retry.Control(0)
	}
	return q.packet, true
}

// overdue sends again the packets whose answer is overdue at now, in the order in which they were
// first sent. It returns the time at which the next answer will be overdue, or false when no answer
// is awaited.
func (r *requests[T]) overdue(now time.Duration, send func(Request)) (next time.Duration, ok bool) {
	for _, q := range r.unanswered() {
		if q.superseded() {
			continue
		}
		if q.due <= now {
			q.attempts = min(q.attempts+1, 63)
			q.due = now + r.retry.Control(q.attempts)
			q.packet.Again = true
			send(q.packet)
		}
		if !ok || q.due < next {
			next, ok = q.due, true
		}
	}
	return next, ok
}

// unanswered returns the packets that wait for an answer, in order of sending.
func (r *requests[T]) unanswered() []*request[T] {
	if len(r.asked) == int(r.lapsed) {
		return nil
	}
	list := slices.SortedFunc(maps.Values(r.asked), func(a, b *request[T]) int { return cmp.Compare(a.number, b.number) })
	return slices.DeleteFunc(list, func(q *request[T]) bool { return q.lapsed })
}

// answered removes the request q.
func (r *requests[T]) answered(q *request[T]) {
	delete(r.asked, q.packet.ID)
	r.ids.Release(q.packet.ID)
	if q.lapsed {
		r.lapsed--
	}
	if q.attempts > 0 {
		if r.resent == nil {
			r.resent = make(map[uint16]bool)
		}
		r.resent[q.packet.ID] = true
	}
	for _, x := range q.filters {
		x.requests--
	}
}

// lost discards all requests.
func (r *requests[T]) lost() {
	for id := range r.asked {
		r.ids.Release(id)
	}
	r.queue, r.asked, r.resent, r.lapsed, r.pings, r.pongs = nil, nil, nil, 0, 0, 0
}

// UnderWay returns how many SUBSCRIBE and UNSUBSCRIBE packets wait for their answer.
func (s *Subscriptions[T]) UnderWay() int { return len(s.requests.asked) - int(s.requests.lapsed) }

// Next returns the next packet to send, or false when there is none.
//
// An UNSUBSCRIBE that is too large for the broker counts as refused by it.
func (s *Subscriptions[T]) Next(now time.Duration) (Request, bool) {
	for {
		r, ok := s.requests.next(now)
		if r.Refused == nil || r.Topics == nil {
			return r, ok
		}
		codes := slices.Repeat([]frames.ReasonCode{frames.CodeOf(r.Refused)}, len(r.Topics))
		_ = s.Unsuback(r.ID, codes) // fits the request
	}
}

// Overdue passes each packet whose answer is overdue at now to send. It returns the time at which
// the next answer will be overdue, or false when no answer is awaited. Call Overdue only if Retry
// is set.
func (s *Subscriptions[T]) Overdue(now time.Duration, send func(Request)) (next time.Duration, ok bool) {
	return s.requests.overdue(now, send)
}
