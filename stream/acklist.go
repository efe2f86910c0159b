package stream

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

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
func (a *ackList) reject(seq uint64, turn uint8, code frames.ReasonCode, reason string) {
	a.mu.Lock()
	if a.closed || slices.Contains(a.seqs, seq) || len(a.turns) > 0 && a.turns[seq] != turn {
		a.mu.Unlock()
		return
	}
	if a.rejected == nil {
		a.rejected = make(map[uint64]rejection)
	}
	a.rejected[seq] = rejection{code, reason}
	first := len(a.seqs) == 0
	a.seqs = append(a.seqs, seq) // under the same lock, or take could come between
	a.mu.Unlock()
	if first {
		a.wake()
	}
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

// A rejection is the reason why a consumer refuses a message.
type rejection struct {
	code   frames.ReasonCode
	reason string
}

// checked returns the code to send, and leaves out a reason that cannot be sent.
func (r *rejection) checked(log *packetLog) frames.ReasonCode {
	if frames.ValidString("reason string", r.reason) != nil || len(r.reason) > math.MaxUint16 {
		log.Warn("the reason of a rejected message is left out, since it is not valid", "code", r.code.Error())
		r.reason = ""
	}
	switch r.code {
	case frames.UnspecifiedError, frames.ImplementationSpecificError, frames.NotAuthorized,
		frames.TopicNameInvalid, frames.QuotaExceeded, frames.PayloadFormatInvalid:
		return r.code
	}
	log.Warn("PUBACK and PUBREC do not have this reason code; unspecified error is sent", "code", int(r.code))
	return frames.UnspecifiedError
}

// A requeue is a delivery that its consumer has put back for later.
type requeue struct {
	delivery Delivery
	after    time.Duration
	due      time.Duration // set by the loop
}

// requeue records a call of Requeue, and reports whether it has an effect.
func (a *ackList) requeue(d Delivery, after time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.turns[d.seq] != d.turn {
		return false
	}
	if d.seq != 0 {
		d.turn++
		if a.turns == nil {
			a.turns = make(map[uint64]uint8)
		}
		a.turns[d.seq] = d.turn
	}
	a.requeues = append(a.requeues, requeue{delivery: d, after: after})
	a.wake()
	return true
}

// requeued returns how many calls of Requeue the loop has not taken yet.
func (a *ackList) requeued() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.requeues)
}

// takeRequeues returns the calls of Requeue since the last call.
func (a *ackList) takeRequeues() []requeue {
	a.mu.Lock()
	defer a.mu.Unlock()
	requeues := a.requeues
	a.requeues = nil
	return requeues
}

// forget ends the bookkeeping of a delivery that was acknowledged.
func (a *ackList) forget(seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.turns, seq)
}
