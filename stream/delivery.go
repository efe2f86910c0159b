package stream

import (
	"sync"

	"github.com/go-millrace/mqtt/frames"
)

// Delivery is a message that its consumer has yet to settle. The payload may be
// shared with other consumers and with other messages of the same read: it is
// not to be written to, and what is kept for long should be a Message.Clone.
type Delivery struct {
	frames.Message
	Duplicate bool // the broker says that it may have sent it before (DUP)

	seq     uint64
	settler *settler // nil: nothing is owed
}

// Ack settles the delivery: the broker may forget the message. It can be called
// from any goroutine, in any order, more than once, and after the connection
// or the client is gone. Acks leave in order of arrival, so one delivery that
// is never settled withholds the acks of all later ones.
func (d Delivery) Ack() {
	if d.settler != nil {
		d.settler.settle(d.seq)
	}
}

// A settler carries settled deliveries from the goroutines of users to the
// loop: a list, and one wake-up for as many as there are.
type settler struct {
	poke func()

	mu      sync.Mutex
	settled []uint64
	closed  bool
}

func (s *settler) settle(seq uint64) {
	s.mu.Lock()
	first := len(s.settled) == 0
	if !s.closed {
		s.settled = append(s.settled, seq)
	}
	s.mu.Unlock()
	if first {
		s.poke()
	}
}

// swap takes the list and leaves an empty one that reuses spare.
func (s *settler) swap(spare []uint64) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	settled := s.settled
	s.settled = spare[:0]
	return settled
}

func (s *settler) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.settled = true, nil
}
