package stream

import (
	"fmt"
	"log/slog"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// An overflow counts the publications for which the queue had no room, and logs once in each period
// in which the queue is full that they are refused, evict others, or wait for a connection. A
// period ends when half of the queue is free.
type overflow struct {
	full    flow.Full // Options.Full
	warned  bool      // in this period
	limit   int       // Options.QueueBytes
	refused uint64
	evicted uint64
	log     *slog.Logger
}

// refuse counts m, and returns the reason for its Receipt. A message that is larger than the queue
// begins no period.
func (o *overflow) refuse(m *frames.Message, queued int) error {
	o.refused++
	if o.oversize(m) {
		return &oversizeError{flow.Cost(m), o.limit}
	}
	o.warn("the queue is full, and new publications are refused until there is room", queued)
	return ErrFull
}

// evict counts a publication that gives way to a newer one.
func (o *overflow) evict(queued int) {
	o.evicted++
	o.warn("the queue is full, and the oldest publications give way to new ones", queued)
}

// block notes that new publications wait for room until there is a connection.
func (o *overflow) block(queued int) {
	o.warn("the queue is full and there is no connection, so new publications wait for room", queued)
}

func (o *overflow) warn(text string, queued int) {
	if !o.warned {
		o.warned = true
		o.log.Warn(text, "queued", queued)
	}
}

// rest ends the period if half of the queue is free.
func (o *overflow) rest(relaxed func() bool) {
	if o.warned && relaxed() {
		o.warned = false
	}
}

// oversize reports whether m would not even fit into an empty queue.
func (o *overflow) oversize(m *frames.Message) bool { return o.limit > 0 && flow.Cost(m) > o.limit }

// An oversizeError says that a message has no room in an empty queue. It wraps ErrFull.
type oversizeError struct{ cost, limit int }

func (e *oversizeError) Error() string {
	return fmt.Sprintf("%v: the message counts with %d bytes, which is above QueueBytes, %d", ErrFull, e.cost, e.limit)
}

func (e *oversizeError) Unwrap() error { return ErrFull }
