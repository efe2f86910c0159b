package stream

import (
	"slices"
	"sync"

	"github.com/go-millrace/mqtt/frames"
)

// Delivery is a message that its consumer must acknowledge. The payload may share memory with other
// consumers and with other messages of the same read. Do not write to the payload. To keep a
// message for long, keep its Message.Clone.
type Delivery struct {
	frames.Message
	turn      uint8  // how often it was requeued
	Duplicate bool   // the DUP flag: the broker may have sent the message before
	ID        uint16 // the packet identifier; 0 at QoS 0

	order uint32 // of arrival in the session; see arrivedBefore
	seq   uint64 // the number of the delivery in flow.Receiver; 0 if no ack is expected
	from  *inbox // the inbox that held the message last
}

// Ack acknowledges the delivery, so that the broker may forget the message. It can be called from
// any goroutine, in any order, more than once, and after the connection or the client is gone. Acks
// are sent in the order in which the messages arrived, so one delivery that is never acknowledged
// withholds the acks of all later deliveries.
func (d Delivery) Ack() {
	if d.seq != 0 {
		d.from.all.acks.add(d.seq, d.turn)
	}
}

// arrivedBefore reports whether d arrived before e. Numbers wrap around after 4 billion messages,
// so the two must not be more than half of that apart.
func (d *Delivery) arrivedBefore(e *Delivery) bool { return int32(d.order-e.order) < 0 }

// An ackList carries the sequence numbers of acknowledged deliveries from the goroutines of users
// to the loop. Only the first number in the empty list wakes the loop.
type ackList struct {
	wake func()

	mu       sync.Mutex
	seqs     []uint64
	rejected map[uint64]rejection // of the deliveries in seqs
	closed   bool

	turns    map[uint64]uint8 // of the deliveries that were requeued; an Ack of an earlier turn has no effect
	requeues []requeue

	spare []uint64 // owned by the loop
}

func (a *ackList) add(seq uint64, turn uint8) {
	a.mu.Lock()
	if len(a.turns) > 0 && a.turns[seq] != turn {
		a.mu.Unlock()
		return
	}
	first := len(a.seqs) == 0
	if !a.closed {
		a.seqs = append(a.seqs, seq)
	}
	a.mu.Unlock()
	if first {
		a.wake()
	}
}

// reject adds a delivery with its rejection, unless the delivery is in the list.
func (a *ackList) reject(seq uint64, turn uint8, r rejection) {
	a.mu.Lock()
	if a.closed || slices.Contains(a.seqs, seq) || len(a.turns) > 0 && a.turns[seq] != turn {
		a.mu.Unlock()
		return
	}
	if a.rejected == nil {
		a.rejected = make(map[uint64]rejection)
	}
	a.rejected[seq] = r
	a.mu.Unlock()
	a.add(seq, turn)
}

// take returns the numbers of the deliveries that were acknowledged since the last call, and the
// rejections among them. The slice is valid until the next call.
func (a *ackList) take() (seqs []uint64, rejected map[uint64]rejection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seqs, a.spare = a.spare[:0], a.seqs
	rejected, a.rejected = a.rejected, nil
	if len(a.turns) > 0 {
		for _, seq := range a.spare {
			delete(a.turns, seq)
		}
	}
	return a.spare, rejected
}

// close makes the list ignore later acks.
func (a *ackList) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed, a.seqs, a.rejected = true, nil, nil
}
