package flow

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// Subscriptions keeps the topic filters that each owner wants, and decides which SUBSCRIBE and
// UNSUBSCRIBE packets are due to bring the broker there. An owner is a set of filters that is
// granted or refused as a whole.
//
// An owner is asking until the broker has granted all its filters, then active, then leaving until
// UNSUBACK. Asking and active ones are wanted: their filters are asked for again on a connection
// whose broker does not have them. A filter is unsubscribed only when no other wanted owner has it.
type Subscriptions[T comparable] struct {
	routes  Routes[T]
	owners  map[T]*subscription[T]
	wanted  []*subscription[T] // asking and active ones, in order of Add
	leaving []*subscription[T]

	requests requests[T]

	// Filters that were unsubscribed, newest last, at most maxUnsubscribed: late messages for them
	// are unwanted.
	unsubscribed []string
}

const maxUnsubscribed = 256

// A subscription is the state of one owner.
type subscription[T comparable] struct {
	owner   T
	filters []frames.Filter
	refused []frames.Filter // in the answers so far
	phase   phase
	open    int // requests without an answer
}

// phase is the part of its life in which a subscription is.
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

// Add begins to want filters for an owner that has none. With a connection, their SUBSCRIBE packets
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

// Abandon ends an owner that is still asking; it reports false for any other. With withdraw the
// broker is told, since it may have the filters.
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

// Remove begins the end of an owner and reports whether it has ended, else a later Unsuback,
// Restore or Lost does. kept says that the broker keeps the session, so that it has to be told at
// the next connection if there is none now.
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

// Restore makes the requests due that a new connection needs, and returns the owners that end by
// it. kept says that the broker may have kept the session. With all, every wanted filter is asked
// for, else only filters without an answer.
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

// Lost forgets the requests of a connection that is gone, and returns the owners that end by it.
// With kept, an UNSUBSCRIBE for filters that nobody wants again stays due.
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

// ask queues the SUBSCRIBE packets of sub.
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

// highest returns the QoS to ask for. The broker keeps one QoS for each filter, that of the last
// SUBSCRIBE [MQTT-3.8.4-3], and another owner may need more.
func (s *Subscriptions[T]) highest(f frames.Filter) frames.QoS {
	q := f.QoS
	for _, route := range s.sharing(f.Topic, nil) {
		q = max(q, route.Filter.QoS)
	}
	return q
}

// sharing returns the routes of wanted owners other than except whose filter has the text topic.
func (s *Subscriptions[T]) sharing(topic string, except *subscription[T]) []Route[T] {
	return slices.DeleteFunc(s.routes.Equal(topic), func(r Route[T]) bool {
		sub := s.owners[r.Owner]
		return sub == except || sub.phase > active
	})
}

// withdraw queues UNSUBSCRIBE packets for the filters of sub that the broker may have and no other
// wanted owner has. waits is sub if its end waits for the UNSUBACK, else nil.
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

// endIfAnswered ends a leaving owner that waits for no UNSUBACK.
func (s *Subscriptions[T]) endIfAnswered(sub *subscription[T]) bool {
	if sub.open > 0 {
		return false
	}
	s.leaving = without(s.leaving, sub)
	s.end(sub)
	return true
}

// end removes all state of an owner but the requests under way.
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
