package stream

import (
	"slices"
	"sync"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// A filterSet is the part of a Subscription that the loop uses. In flow.Subscriptions it is the
// owner of its filters.
type filterSet struct {
	inbox    *inbox
	filters  []frames.Filter
	declared bool // by Declare: no call waits for the SUBACK, and a refused filter does not end it

	ready chan struct{} // closed by the loop

	mu      sync.Mutex
	granted []frames.QoS // one for each filter
	refused []frames.Filter

	// Owned by the loop, except for receiving from reply.
	reply    chan error     // cap 1: the result of Subscribe
	replied  bool           // the call of Subscribe has its result
	answered bool           // ready is closed
	leavers  []chan<- error // the reply channels, each with cap 1, of waiting calls of Unsubscribe
}

func newFilterSet(box *inbox, filters []frames.Filter, declared bool) *filterSet {
	return &filterSet{
		inbox:    box,
		filters:  slices.Clone(filters),
		declared: declared,
		ready:    make(chan struct{}),
		granted:  make([]frames.QoS, len(filters)),
		reply:    make(chan error, 1),
		replied:  declared,
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

// grant records the code of a SUBACK for one filter.
func (s *filterSet) grant(filter int, code frames.ReasonCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.granted[filter] = frames.AtMostOnce
	if code < frames.UnspecifiedError {
		s.granted[filter] = frames.QoS(code)
	}
}

// Granted returns the QoS that the broker granted for each filter, in order.
func (s *filterSet) Granted() []frames.QoS {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.granted)
}

// Refused returns the filters that the broker refused, in order.
func (s *filterSet) Refused() []frames.Filter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

// answer ends the call of Subscribe with err. Only the first answer has an effect.
func (s *filterSet) answer(err error) {
	if !s.replied {
		s.replied = true
		s.reply <- err
	}
}

// answeredAll records that the broker has answered every filter, and has refused some.
func (s *filterSet) answeredAll(refused []frames.Filter) {
	s.refuse(refused)
	s.becomeReady()
	s.answer(nil)
}

func (s *filterSet) refuse(filters []frames.Filter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = filters
}

func (s *filterSet) becomeReady() {
	if !s.answered {
		s.answered = true
		close(s.ready)
	}
}

// end finishes a Subscription. The calls of Subscribe and Unsubscribe that still wait end with the
// error result, and Err returns err. The channels are closed after they have handed over the
// messages that have arrived.
func (s *filterSet) end(err, result error) {
	s.inbox.finish(err)
	s.becomeReady()
	s.answer(result)
	s.left(result)
}

// left sends err to the waiting calls of Unsubscribe.
func (s *filterSet) left(err error) {
	for _, reply := range s.leavers {
		reply <- err
	}
	s.leavers = nil
}

// unsubscribe begins to end a Subscription, and sends the result to reply (cap 1).
func (s *filterSet) unsubscribe(subs *flow.Subscriptions[*filterSet], reply chan<- error) {
	if !subs.Remove(s) {
		reply <- nil
		return
	}
	s.leavers = append(s.leavers, reply)
}
