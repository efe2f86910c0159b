package stream

import (
	"slices"
	"sync"
)

// turns lets the feeders of a merge send in turns, one message each. Without it a feeder that runs
// while the consumer receives would send thousands of messages before another feeder is scheduled.
// A nil *turns has one feeder, which always has the turn.
//
// Invariant: waiting has the feeders with messages to send, and the first of them has the turn. A
// feeder is known by its channel, which has the capacity 1 and gets a value when the turn of the
// feeder comes. No feeder holds the mutex while it sends.
type turns struct {
	mu      sync.Mutex
	waiting []chan struct{}
}

// feeder returns the channel of a new feeder.
func (t *turns) feeder() chan struct{} {
	if t == nil {
		return nil
	}
	return make(chan struct{}, 1)
}

// begin adds a feeder that has messages to send. It reports whether the feeder has the turn at
// once.
func (t *turns) begin(mine chan struct{}) (has bool) {
	if t == nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, mine)
	return len(t.waiting) == 1
}

// pass is called by the feeder that has the turn, and passes the turn on. It reports whether that
// feeder has the turn again, since no other waits.
func (t *turns) pass() (has bool) {
	if t == nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 1 {
		return true
	}
	mine := t.waiting[0]
	copy(t.waiting, t.waiting[1:])
	t.waiting[len(t.waiting)-1] = mine
	t.waiting[0] <- struct{}{}
	return false
}

// leave removes a feeder that sends no more messages for now. If the feeder has the turn, the turn
// passes on.
func (t *turns) leave(mine chan struct{}) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting, mine)
	t.waiting = slices.Delete(t.waiting, i, i+1)
	if i == 0 && len(t.waiting) > 0 {
		t.waiting[0] <- struct{}{}
	}
	select {
	case <-mine: // the turn has come, and was not used
	default:
	}
}
