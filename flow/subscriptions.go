package flow

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// Subscriptions keeps the topic filters that each owner wants, and decides which SUBSCRIBE and
// UNSUBSCRIBE packets must be sent so that the broker has the same filters. The filters of an owner
// are granted or refused as a whole.
//
// An owner is asking until the broker has granted all its filters, then active, then leaving until
// UNSUBACK. Asking and active owners are wanted: if the broker of a new connection does not have
// their filters, SUBSCRIBE is sent again. A filter is unsubscribed only when no other wanted owner
// has it.
type Subscriptions[T comparable] struct {
	routes  Routes[T]
	owners  map[T]*subscription[T]
	wanted  []*subscription[T] // asking and active, in order of Add
	leaving []*subscription[T]

	requests requests[T]

	// The topics of filters that were unsubscribed lately, newest last, at most maxUnsubscribed.
	// Late messages that match them are unwanted.
	unsubscribed []string
}

const maxUnsubscribed = 256

// A subscription is the state of one owner.
type subscription[T comparable] struct {
	owner   T
	filters []frames.Filter
	refused []frames.Filter // the filters refused in the answers so far
	phase   phase
	open    int // requests without an answer
}

// phase is the stage of a subscription between Add and its end.
type phase byte

const (
	asking phase = iota
	active
	leaving
	gone
)

// NewSubscriptions returns an empty set. Requests take their packet identifiers from ids; retry may
// be nil.
func NewSubscriptions[T comparable](ids *Identifiers, retry *Retry) *Subscriptions[T] {
	return &Subscriptions[T]{requests: requests[T]{ids: ids, retry: retry}}
}

// Lookup returns the owners whose filters match topic, each once. The slice must not be changed.
func (s *Subscriptions[T]) Lookup(topic string) []T { return s.routes.Lookup(topic) }

// Wanted returns how many owners are asking or active.
func (s *Subscriptions[T]) Wanted() int { return len(s.wanted) }

// EachWanted visits the asking and active owners in order of Add.
func (s *Subscriptions[T]) EachWanted(visit func(owner T, asking bool)) {
	for _, sub := range s.wanted {
		visit(sub.owner, sub.phase == asking)
	}
}

// Leaving returns the owners that wait for an UNSUBACK.
func (s *Subscriptions[T]) Leaving() []T {
	owners := make([]T, len(s.leaving))
	for i, sub := range s.leaving {
		owners[i] = sub.owner
	}
	return owners
}

// Add adds a new owner with its filters. If online is set, the SUBSCRIBE packets for the filters
// are due.
func (s *Subscriptions[T]) Add(owner T, filters []frames.Filter, online bool) {
	sub := &subscription[T]{owner: owner, filters: filters}
	if s.owners == nil {
		s.owners = make(map[T]*subscription[T])
	}
	s.owners[owner] = sub
	s.wanted = append(s.wanted, sub)
	for _, f := range filters {
		s.routes.Add(f, owner)
		s.unsubscribed = slices.DeleteFunc(s.unsubscribed, func(topic string) bool { return topic == f.Topic })
	}
	if online {
		s.ask(sub)
	}
}

// Abandon ends an owner that is still asking, and reports false for any other owner. If withdraw is
// set, UNSUBSCRIBE is sent for the filters, since the broker may have them.
func (s *Subscriptions[T]) Abandon(owner T, withdraw bool) bool {
	sub := s.owners[owner]
	if sub == nil || sub.phase != asking {
		return false
	}
	s.end(sub)
	s.requests.drop(sub)
	if withdraw {
		s.withdraw(sub, nil)
	}
	return true
}

// Remove unsubscribes an owner and reports whether the owner has ended; if not, a later Unsuback,
// Restore or Lost reports the end. The parameter kept says that the broker keeps the session. If it
// does and there is no connection now, UNSUBSCRIBE must be sent on the next one.
func (s *Subscriptions[T]) Remove(owner T, online, kept bool) (ended bool) {
	sub := s.owners[owner]
	if sub == nil {
		return true
	}
	if sub.phase == leaving {
		return false
	}
	sub.phase, sub.open = leaving, 0
	s.wanted = without(s.wanted, sub)
	s.leaving = append(s.leaving, sub)
	s.requests.drop(sub)
	switch {
	case online:
		s.withdraw(sub, sub)
	case kept:
		return false
	}
	return s.endIfAnswered(sub)
}

// Restore queues the requests that a new connection needs, and returns the owners that ended in
// this call. The parameter kept says that the broker may have kept the session. If all is set,
// SUBSCRIBE is sent for every wanted owner, otherwise only for owners that still wait for an
// answer.
func (s *Subscriptions[T]) Restore(kept, all bool) (ended []T) {
	for _, sub := range s.wanted {
		if sub.open > 0 || sub.phase == asking || all {
			s.ask(sub)
		}
	}
	for _, sub := range slices.Clone(s.leaving) {
		sub.open = 0
		if kept {
			s.withdraw(sub, sub)
		}
		if s.endIfAnswered(sub) {
			ended = append(ended, sub.owner)
		}
	}
	return ended
}

// Lost discards the requests of a lost connection, and returns the owners that ended in this call.
// If kept is set, an UNSUBSCRIBE that no owner waits for stays queued, without the filters that an
// owner wants by now.
func (s *Subscriptions[T]) Lost(kept bool) (ended []T) {
	s.requests.lost(func(r *request[T]) bool {
		if r.sub != nil || !kept {
			return false
		}
		r.topics = slices.DeleteFunc(r.topics, func(topic string) bool { return len(s.sharing(topic, nil)) > 0 })
		return len(r.topics) > 0
	})
	if kept {
		return nil
	}
	for _, sub := range slices.Clone(s.leaving) {
		sub.open = 0
		s.endIfAnswered(sub)
		ended = append(ended, sub.owner)
	}
	return ended
}

// Unsubscribed reports whether topic matches a filter that was unsubscribed lately.
func (s *Subscriptions[T]) Unsubscribed(topic string) bool {
	return slices.ContainsFunc(s.unsubscribed, func(f string) bool { return frames.Match(f, topic) })
}

// ask queues the SUBSCRIBE packets for the filters of sub.
func (s *Subscriptions[T]) ask(sub *subscription[T]) {
	sub.open, sub.refused = 0, nil
	var r *request[T]
	for i, f := range sub.filters {
		f.QoS = s.highest(f)
		if !r.fits(f.Topic) {
			r = s.requests.add(&request[T]{sub: sub, first: i})
			sub.open++
		}
		r.filters = append(r.filters, f)
		r.size += len(f.Topic) + 3
	}
}

// highest returns the QoS to ask for. The broker keeps one QoS for each filter, from the last
// SUBSCRIBE [MQTT-3.8.4-3], and another owner of the filter may need a higher QoS.
func (s *Subscriptions[T]) highest(f frames.Filter) frames.QoS {
	q := f.QoS
	for _, route := range s.sharing(f.Topic, nil) {
		q = max(q, route.Filter.QoS)
	}
	return q
}

// sharing returns the routes whose filter is exactly topic and whose owner is wanted, without the
// routes of except.
func (s *Subscriptions[T]) sharing(topic string, except *subscription[T]) []Route[T] {
	return slices.DeleteFunc(s.routes.Equal(topic), func(r Route[T]) bool {
		sub := s.owners[r.Owner]
		return sub == except || sub.phase > active
	})
}

// withdraw queues UNSUBSCRIBE packets for the filters of sub that the broker may have and no other
// wanted owner has. The parameter waits is sub if sub ends only with the UNSUBACK, else nil.
func (s *Subscriptions[T]) withdraw(sub, waits *subscription[T]) {
	var r *request[T]
	for _, f := range sub.filters {
		if slices.Contains(sub.refused, f) || len(s.sharing(f.Topic, sub)) > 0 {
			continue
		}
		if !r.fits(f.Topic) {
			r = s.requests.add(&request[T]{sub: waits})
			if waits != nil {
				waits.open++
			}
		}
		r.topics = append(r.topics, f.Topic)
		r.size += len(f.Topic) + 2
		s.unsubscribed = append(s.unsubscribed, f.Topic)
	}
	if n := len(s.unsubscribed) - maxUnsubscribed; n > 0 {
		s.unsubscribed = slices.Delete(s.unsubscribed, 0, n)
	}
}

// endIfAnswered ends a leaving owner for which no UNSUBACK is outstanding.
func (s *Subscriptions[T]) endIfAnswered(sub *subscription[T]) bool {
	if sub.open > 0 {
		return false
	}
	s.leaving = without(s.leaving, sub)
	s.end(sub)
	return true
}

// end removes all state of an owner except its requests.
func (s *Subscriptions[T]) end(sub *subscription[T]) {
	sub.phase = gone
	s.wanted = without(s.wanted, sub)
	for _, f := range sub.filters {
		s.routes.Remove(f, sub.owner)
	}
	delete(s.owners, sub.owner)
}

func without[T comparable](list []*subscription[T], sub *subscription[T]) []*subscription[T] {
	return slices.DeleteFunc(list, func(s *subscription[T]) bool { return s == sub })
}
