package stream

import (
	"slices"
	"sync"

	"github.com/go-millrace/mqtt/frames"
)

// A filterSet is the part of a Subscription that the loop uses. In flow.Subscriptions it is the
// owner of its filters.
type filterSet struct {
	inbox   *inbox
	filters []frames.Filter

	mu      sync.Mutex
	granted []frames.QoS // one for each filter

	reply   chan error     // cap 1, from the loop: the result of Subscribe
	replied bool           // owned by the loop: reply was used
	leavers []chan<- error // owned by the loop: the reply channels, each with cap 1, of waiting calls of Unsubscribe
}

func newFilterSet(box *inbox, filters []frames.Filter) *filterSet {
	return &filterSet{
		inbox:   box,
		filters: slices.Clone(filters),
		granted: make([]frames.QoS, len(filters)),
		reply:   make(chan error, 1),
	}
}

// answer ends the call of Subscribe with err. Only the first answer has an effect.
func (s *filterSet) answer(err error) {
	if !s.replied {
		s.replied = true
		s.reply <- err
	}
}

// topics returns the topic filters.
func (s *filterSet) topics() []string {
	topics := make([]string, len(s.filters))
	for i, f := range s.filters {
		topics[i] = f.Topic
	}
	return topics
}

// grant records the codes of a SUBACK, of which the first is for filters[first].
func (s *filterSet) grant(first int, codes []frames.ReasonCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, code := range codes {
		s.granted[first+i] = frames.QoS(code)
	}
}

// Granted returns the QoS that the broker granted for each filter, in order.
func (s *filterSet) Granted() []frames.QoS {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.granted)
}

// end finishes a Subscription that was unsubscribed. Its channels are closed after they have handed
// over the messages that have arrived.
func (s *filterSet) end() {
	s.inbox.finish(nil)
	s.left(nil)
}

// left sends err to the waiting calls of Unsubscribe.
func (s *filterSet) left(err error) {
	for _, reply := range s.leavers {
		reply <- err
	}
	s.leavers = nil
}
