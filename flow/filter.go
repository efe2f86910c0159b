package flow

import "slices"

// A filter is the state of one topic filter: its owners, and the knowledge of the broker's session.
// The session of one client has each filter once, whoever asks for it [MQTT-3.8.4-3].
type filter[T comparable] struct {
	topic   string
	wants   []*want[T]         // in order of Add
	waiting []*subscription[T] // leaving owners that wait for the UNSUBACK
	held    held
	ids     []filterID
	granted uint64 // the number of the last SUBSCRIBE that was granted

	// The filter was taken back, so it is unsubscribed unless an owner wants it. A grant to an
	// owner ends that.
	withdrawn bool

	// Of this connection.
	last         *request[T]      // the last request for the filter, until it is answered
	requests     int              // unanswered requests for the filter
	unsubscribed uint64           // the number of the last UNSUBSCRIBE
	by           *subscription[T] // asked for the last change; a packet is of one owner
	queued       bool             // in the queue of requests
	listed       bool             // in Subscriptions.parting
}

// A filterID is a subscription identifier that messages for a filter may have: of the last
// SUBSCRIBE that was granted, or of one without an answer. Until the answer, the broker may have
// either. One connection asks for a filter at most once with each identifier.
type filterID struct {
	id   uint32
	held bool   // by the last granted SUBSCRIBE, or one left unanswered by its connection
	by   uint64 // the number of the SUBSCRIBE of this connection that has no answer yet; 0 is none
}

// ask records the identifier of the SUBSCRIBE q for x, which is sent.
func (x *filter[T]) ask(q *request[T]) {
	i := slices.IndexFunc(x.ids, func(i filterID) bool { return i.id == q.packet.Identifier })
	if i < 0 {
		x.ids = append(x.ids, filterID{id: q.packet.Identifier, by: q.number})
		return
	}
	x.ids[i].by = q.number
}

// identified records the answer to the SUBSCRIBE q for x. A grant ends the identifiers before it,
// since the broker has one subscription for each filter, with the identifier of the last SUBSCRIBE
// [MQTT-3.8.4-3]. Answers may come in another order than the packets were sent in.
func (x *filter[T]) identified(q *request[T], granted bool) {
	last := granted && q.number > x.granted
	if last {
		x.granted = q.number
		x.holdID(q.packet.Identifier)
	}
	for i := range x.ids {
		if by := x.ids[i].by; by == q.number || last && by < q.number {
			x.ids[i].by = 0
		}
	}
	x.ids = slices.DeleteFunc(x.ids, func(i filterID) bool { return !i.held && i.by == 0 })
}

// holdID records that the broker's subscription has this identifier, and no other one.
func (x *filter[T]) holdID(id uint32) {
	found := false
	for i := range x.ids {
		x.ids[i].held = x.ids[i].id == id
		found = found || x.ids[i].held
	}
	if !found {
		x.ids = append(x.ids, filterID{id: id, held: true})
	}
}

// identifiedBy reports whether a message with the subscription identifier may be for x.
func (x *filter[T]) identifiedBy(id uint32) bool {
	return slices.ContainsFunc(x.ids, func(i filterID) bool { return i.id == id })
}

// held says whether the broker's session has a filter.
type held byte

const (
	absent held = iota
	maybe       // SUBSCRIBE was sent for a filter that was absent
	unknown
	present
)

// A change is the packet that a filter needs.
type change byte

const (
	nothing change = iota
	subscribe
	unsubscribe
)

// change returns the packet that x needs.
func (x *filter[T]) change() change {
	switch {
	case slices.ContainsFunc(x.wants, func(w *want[T]) bool { return w.answer == due }):
		return subscribe
	case x.unwanted() && !x.leaves():
		return unsubscribe
	}
	return nothing
}

// unwanted reports whether the broker may have the filter and nobody wants it.
func (x *filter[T]) unwanted() bool {
	return x.withdrawn && len(x.wants) == 0 && x.held != absent
}

// leaves reports whether the last request for x is an UNSUBSCRIBE without an answer.
func (x *filter[T]) leaves() bool { return x.last != nil && x.last.change == unsubscribe }

// asks returns the owner whose SUBSCRIBE x needs, or the last owner that asked for a change.
func (x *filter[T]) asks() *subscription[T] {
	for _, w := range x.wants {
		if w.answer == due {
			return w.sub
		}
	}
	return x.by
}

// drop ends a want. If withdraw is set, the filter is unsubscribed unless an owner wants it.
func (w *want[T]) drop(withdraw bool) {
	x := w.filter
	x.wants = slices.DeleteFunc(x.wants, func(o *want[T]) bool { return o == w })
	if withdraw {
		x.withdrawn = !slices.ContainsFunc(x.wants, func(o *want[T]) bool { return o.answer == granted })
	}
}

// lost resets the state of the connection.
func (x *filter[T]) lost() {
	x.last, x.requests, x.unsubscribed, x.queued = nil, 0, 0, false
	for i := range x.ids {
		x.ids[i].held, x.ids[i].by = true, 0
	}
	if x.held == maybe {
		x.held = unknown
	}
	for _, w := range x.wants {
		if w.answer == asked {
			w.answer = due
		}
	}
}

// filter returns the state of the filter topic, which is new if nobody has used the filter yet.
func (s *Subscriptions[T]) filter(topic string) *filter[T] {
	x := s.filters[topic]
	if x == nil {
		x = &filter[T]{topic: topic, held: unknown}
		if s.known {
			x.held = absent
		}
		if s.filters == nil {
			s.filters = make(map[string]*filter[T])
		}
		s.filters[topic] = x
	}
	return x
}

// update queues the packet that x needs after a change, which the owner by has caused. If x is
// wanted again before its UNSUBSCRIBE was sent, the owners that wait for the UNSUBACK end.
func (s *Subscriptions[T]) update(x *filter[T], by *subscription[T]) {
	if x.unwanted() != x.listed {
		x.listed = !x.listed
		if x.listed {
			s.parting = append(s.parting, x)
		} else {
			s.parting = slices.DeleteFunc(s.parting, func(o *filter[T]) bool { return o == x })
		}
	}
	if !x.unwanted() && !x.leaves() {
		s.answerWaiting(x)
	}
	switch {
	case !s.online:
	case x.change() == nothing:
		s.requests.dequeue(x)
	default:
		s.requests.enqueue(x, by)
	}
	s.forget(x)
}

// answerWaiting ends the wait of leaving owners for the UNSUBACK of x.
func (s *Subscriptions[T]) answerWaiting(x *filter[T]) {
	waiting := x.waiting
	x.waiting = nil
	for _, sub := range waiting {
		sub.open--
		if sub.phase == leaving {
			s.endIfAnswered(sub)
		}
	}
}

// forget removes a filter that nobody wants, that needs no UNSUBSCRIBE and that no request has.
func (s *Subscriptions[T]) forget(x *filter[T]) {
	if len(x.wants) > 0 || x.requests > 0 || x.queued || x.unwanted() || len(x.waiting) > 0 {
		return
	}
	delete(s.filters, x.topic)
	if x.held != absent {
		s.known = false // the broker may keep the filter
	}
}
