package stream

import "time"

// ackWaits finds the delivery that holds back all later acks, and decides when to warn of it.
//
// Invariant: the arrivals of the deliveries with the numbers from first up to next are in ring,
// each at its number modulo the length of ring.
type ackWaits struct {
	limit       time.Duration // Options.SlowConsumer; 0 is off
	ring        []arrival
	first, next uint64

	number     uint64        // of the delivery that waits first
	wait       time.Duration // the age at which to warn of it
	warned     *inbox        // of the last warning
	quietUntil time.Duration // no other warning about the same inbox comes before
}

// An arrival is a delivery whose ack was not sent.
type arrival struct {
	topic string
	inbox *inbox // nil for the second copy of a QoS 2 message whose first copy is not acknowledged
	at    time.Duration
}

// warnFactor is how much longer a delivery waits for each further warning.
const warnFactor = 10

// add records the delivery with the number seq. Numbers rise.
func (w *ackWaits) add(seq uint64, a arrival) {
	if w.first == w.next {
		w.first, w.next = seq, seq
	}
	for seq+1-w.first > uint64(len(w.ring)) {
		w.grow()
	}
	for ; w.next < seq; w.next++ {
		*w.at(w.next) = arrival{at: a.at}
	}
	*w.at(seq) = a
	w.next++
}

func (w *ackWaits) at(seq uint64) *arrival { return &w.ring[seq&uint64(len(w.ring)-1)] }

func (w *ackWaits) grow() {
	old := w.ring
	w.ring = make([]arrival, max(16, 2*len(old)))
	for seq := w.first; seq != w.next; seq++ {
		*w.at(seq) = old[seq&uint64(len(old)-1)]
	}
}

// oldest returns the delivery that has waited longest. Its number is from; all numbers are below
// to.
func (w *ackWaits) oldest(from, to uint64) (a arrival, ok bool) {
	if w == nil {
		return a, false
	}
	if from == to || w.next <= from {
		w.first, w.next = 0, 0
		return a, false
	}
	w.first = max(w.first, from)
	return *w.at(w.first), true
}

// check reports whether to warn now of a, the delivery that has waited longest, with the number
// seq, and returns when to check again.
func (w *ackWaits) check(now time.Duration, seq uint64, a arrival) (warn bool, next time.Duration) {
	if seq != w.number {
		w.number, w.wait = seq, w.limit
	}
	due := a.at + w.wait
	if w.warned != nil && w.warned == a.inbox {
		due = max(due, w.quietUntil)
	}
	if now < due {
		return false, due
	}
	w.wait *= warnFactor
	w.warned, w.quietUntil = a.inbox, now+(warnFactor-1)*w.limit
	return true, a.at + w.wait
}

// shrink frees the memory of an idle session.
func (w *ackWaits) shrink() {
	if w != nil && w.first == w.next {
		w.ring = nil
	}
}
