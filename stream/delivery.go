package stream

import (
	"sync"

	"github.com/go-millrace/mqtt/frames"
)

// Delivery is a message that its consumer has yet to acknowledge. The payload may be shared with
// other consumers and with other messages of the same read: do not write to it, and keep a
// Message.Clone of it for long.
type Delivery struct {
	frames.Message
	Duplicate bool // the DUP flag: the broker may have sent the message before

	seq  uint64
	acks *ackList // nil if no ack is expected
}

// Ack acknowledges the delivery: the broker may forget the message. It can be called from any
// goroutine, in any order, more than once, and after the connection or the client is gone. Acks
// leave in order of arrival, so one delivery that is never acknowledged withholds the acks of all
// later ones.
func (d Delivery) Ack() {
	if d.acks != nil {
		d.acks.add(d.seq)
	}
}

// An ackList carries acknowledged deliveries from the goroutines of users to the loop: a list, and
// one wake-up for as many as there are.
type ackList struct {
	wake func()

	mu     sync.Mutex
	seqs   []uint64
	closed bool

	spare []uint64 // owned by the loop
}

func (a *ackList) add(seq uint64) {
	a.mu.Lock()
	first := len(a.seqs) == 0
	if !a.closed {
		a.seqs = append(a.seqs, seq)
	}
	a.mu.Unlock()
	if first {
		a.wake()
	}
}

// take returns the deliveries that were acknowledged since the last call. The slice is valid until
// the next one.
func (a *ackList) take() []uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seqs, a.spare = a.spare[:0], a.seqs
	return a.spare
}

// close makes the list ignore later acks.
func (a *ackList) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed, a.seqs = true, nil
}
