package flow

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// Subscriptions keeps the topic filters that each owner wants, and the filters that the broker has.
// The SUBSCRIBE and UNSUBSCRIBE packets are the difference between the two, computed when a packet
// is sent. At each connection every wanted filter is asked for.
//
// An owner is asking until the broker has answered all its filters, then active. Both are wanted.
// An owner that was removed is leaving until UNSUBACK. A filter that an owner wants is never
// unsubscribed. A filter of a session that the broker keeps is unsubscribed only after Remove: the
// session may have had the filter before this client, and the broker may hold messages for it.
type Subscriptions[T comparable] struct {
	routes  Routes[T]
	owners  map[T]*subscription[T]
	wanted  []*subscription[T] // asking and active, in order of Add
	leaving []*subscription[T]
	ended   []Departed[T] // owners that have ended since the last call of Ended

	filters map[string]*filter[T] // filters that are wanted, to be unsubscribed, or in a request
	parting []*filter[T]          // the filters to be unsubscribed, until UNSUBACK

	requests requests[T]
	lastID   uint32 // the subscription identifier given last
	online   bool
	kept     bool // the session outlives the connection
	known    bool // the broker has no filter that is not in filters
}

// A subscription is the state of one owner.
type subscription[T comparable] struct {
	owner T
	id    uint32    // the subscription identifier of its SUBSCRIBEs (MQTT 5, section 3.8.2.1.2)
	wants []want[T] // one for each filter
	each  bool      // a refused filter does not end the owner
	phase phase
	open  int               // wanted: filters unanswered on this connection; leaving: no UNSUBACK
	code  frames.ReasonCode // leaving: the highest code of the UNSUBACKs
}

// phase is the stage of a subscription between Add and its end.
type phase byte

const (
	asking phase = iota
	active
	leaving
	gone
)

// A want is one filter of one owner.
type want[T comparable] struct {
	sub    *subscription[T]
	index  int // among the filters of sub
	filter *filter[T]
	asks   frames.Filter // as the owner wants it
	answer answer
	code   frames.ReasonCode // of the answer
	by     uint64            // the number of the SUBSCRIBE that asks for it, if answer is asked
}

// answer is the broker's answer to a want on this connection.
type answer byte

const (
	due   answer = iota // no SUBSCRIBE was sent since the owner wants the filter
	asked               // SUBSCRIBE was sent
	granted
	refused
)

// NewSubscriptions returns an empty set. Requests take their packet identifiers from ids; retry may
// be nil. The parameter kept says that the broker keeps the session when the connection ends.
func NewSubscriptions[T comparable](ids *Identifiers, retry *Retry, kept bool) *Subscriptions[T] {
	return &Subscriptions[T]{requests: requests[T]{ids: ids, retry: retry, packet: frames.MaxPacket}, kept: kept, known: !kept}
}

// Lookup returns the owners whose filters match topic, each once. The slice must not be changed.
func (s *Subscriptions[T]) Lookup(topic string) []T { return s.routes.Lookup(topic) }

// LookupFor returns the owners that a message with these subscription identifiers is for (MQTT 5,
// section 3.3.4). The filters decide who may have the message. If several owners may, the
// identifiers decide, because some brokers send one copy for each matching subscription. They do
// not decide unless all of them are known here: a message without identifiers, such as a retained
// message of some brokers, or with the identifier of an earlier SUBSCRIBE or process is for all
// owners whose filters match, so that no owner misses it.
func (s *Subscriptions[T]) LookupFor(topic string, ids []uint32) []T {
	may := s.routes.Lookup(topic)
	if len(ids) == 0 || len(may) < 2 {
		return may
	}
	for _, id := range ids {
		if !slices.ContainsFunc(may, func(owner T) bool { return s.owners[owner].named(topic, id) }) {
			return may
		}
	}
	var named []T
	for _, owner := range may {
		if slices.ContainsFunc(ids, func(id uint32) bool { return s.owners[owner].named(topic, id) }) {
			named = append(named, owner)
		}
	}
	return named
}

// named reports whether the owner wants a filter that matches topic and that the identifier may
// stand for.
func (sub *subscription[T]) named(topic string, id uint32) bool {
	for i := range sub.wants {
		if x := sub.wants[i].filter; x.identifiedBy(id) && frames.Match(x.topic, topic) {
			return true
		}
	}
	return false
}

// maxSubscriptionID is the largest subscription identifier.
const maxSubscriptionID = 268_435_455

// Identify sets the subscription identifier that was given last. A client that begins at a random
// one does not take the subscriptions of an earlier process in the session for its own.
func (s *Subscriptions[T]) Identify(last uint32) { s.lastID = last }

func (s *Subscriptions[T]) nextID() uint32 {
	s.lastID = s.lastID%maxSubscriptionID + 1
	return s.lastID
}

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

// Departed is an owner that has ended after Remove. Code is the highest reason code of the
// UNSUBACKs, Success before MQTT 5.
type Departed[T comparable] struct {
	Owner T
	Code  frames.ReasonCode
}

// Ended returns the removed owners that have ended since the last call, in order: their filters
// were unsubscribed, or need no UNSUBSCRIBE.
func (s *Subscriptions[T]) Ended() []Departed[T] {
	ended := s.ended
	s.ended = nil
	return ended
}

// Add adds a new owner, which wants the filters from now on. Each of them is asked for, also if the
// broker has it already, since a new SUBSCRIBE brings the retained messages. If each is set, the
// owner lives on when the broker refuses a filter; otherwise a refusal ends the owner.
func (s *Subscriptions[T]) Add(owner T, filters []frames.Filter, each bool) {
	sub := &subscription[T]{owner: owner, id: s.nextID(), wants: make([]want[T], len(filters)), each: each, open: len(filters)}
	if s.owners == nil {
		s.owners = make(map[T]*subscription[T])
	}
	s.owners[owner] = sub
	s.wanted = append(s.wanted, sub)
	for i, f := range filters {
		x := s.filter(f.Topic)
		sub.wants[i] = want[T]{sub: sub, index: i, filter: x, asks: f}
		x.wants = append(x.wants, &sub.wants[i])
		s.routes.Add(f, owner)
		s.update(x, sub)
	}
}

// Abandon ends an owner that is still asking, and reports false for any other owner. Filters that
// the broker may have only for this owner are unsubscribed, unless the broker keeps the session.
func (s *Subscriptions[T]) Abandon(owner T) bool {
	sub := s.owners[owner]
	if sub == nil || sub.phase != asking {
		return false
	}
	s.end(sub)
	return true
}

// Remove unsubscribes an owner, and reports false for an owner that has ended. Ended reports when
// the owner has ended.
func (s *Subscriptions[T]) Remove(owner T) bool {
	sub := s.owners[owner]
	if sub == nil || sub.phase == leaving {
		return sub != nil
	}
	sub.phase, sub.open = leaving, 0
	s.wanted = without(s.wanted, sub)
	s.leaving = append(s.leaving, sub)
	for i := range sub.wants {
		sub.wants[i].drop(true)
	}
	for i := range sub.wants {
		x := sub.wants[i].filter
		if x.unwanted() && !slices.Contains(x.waiting, sub) {
			x.waiting = append(x.waiting, sub)
			sub.open++
		}
		s.update(x, sub)
	}
	s.endIfAnswered(sub)
	return true
}

// Limit sets the rules of a new connection: refuse returns the reason why a filter cannot be asked
// for with a subscription identifier, and a packet has at most maxPacket bytes. A filter that is
// refused here counts as refused by the broker.
func (s *Subscriptions[T]) Limit(refuse func(f frames.Filter, identifier uint32) error, maxPacket int) {
	s.requests.refuse, s.requests.packet = refuse, int32(maxPacket)
}

// Connected begins a connection, for which all filters are asked for. The parameter present says
// that the broker may have the session. If trusted is set too, filters that were granted to their
// owners on an earlier connection are not asked for again.
func (s *Subscriptions[T]) Connected(present, trusted bool) {
	s.online = true
	if !present {
		s.forgetSession()
	}
	for _, sub := range s.wanted {
		sub.open = 0
		for i := range sub.wants {
			w := &sub.wants[i]
			if present && trusted && w.answer == granted {
				continue
			}
			w.answer = due
			sub.open++
			s.update(w.filter, sub)
		}
	}
	for _, x := range s.parting {
		s.requests.enqueue(x, x.by)
	}
}

// Lost discards the requests of a lost connection.
func (s *Subscriptions[T]) Lost() {
	s.online = false
	s.requests.lost()
	if !s.kept {
		s.forgetSession()
	}
	for _, x := range s.filters {
		x.lost()
		s.forget(x)
	}
}

// forgetSession handles the loss of the broker's session: the broker has no filter any more.
func (s *Subscriptions[T]) forgetSession() {
	for _, x := range s.filters {
		x.held, x.withdrawn, x.listed, x.waiting, x.ids = absent, false, false, nil, nil
		s.forget(x)
	}
	s.parting, s.known = nil, true
	for _, sub := range slices.Clone(s.leaving) {
		sub.open = 0
		s.endIfAnswered(sub)
	}
}

// Unsubscribed reports whether topic matches a filter that nobody wants and whose UNSUBACK has not
// come yet.
func (s *Subscriptions[T]) Unsubscribed(topic string) bool {
	return slices.ContainsFunc(s.parting, func(x *filter[T]) bool { return frames.Match(x.topic, topic) })
}

// endIfAnswered ends a leaving owner for which no UNSUBACK is outstanding.
func (s *Subscriptions[T]) endIfAnswered(sub *subscription[T]) {
	if sub.open == 0 {
		s.ended = append(s.ended, Departed[T]{sub.owner, sub.code})
		s.end(sub)
	}
}

// end removes an owner. Its filters are unsubscribed if no other owner wants them and the session
// ends with the connection.
func (s *Subscriptions[T]) end(sub *subscription[T]) {
	was := sub.phase
	sub.phase = gone
	s.wanted, s.leaving = without(s.wanted, sub), without(s.leaving, sub)
	delete(s.owners, sub.owner)
	for i := range sub.wants {
		w := &sub.wants[i]
		s.routes.Remove(w.asks, sub.owner)
		w.drop(was != leaving && !s.kept)
	}
	if was == leaving { // Remove has updated its filters
		return
	}
	for i := range sub.wants {
		s.update(sub.wants[i].filter, sub)
	}
}

func without[T comparable](list []*subscription[T], sub *subscription[T]) []*subscription[T] {
	return slices.DeleteFunc(list, func(s *subscription[T]) bool { return s == sub })
}
