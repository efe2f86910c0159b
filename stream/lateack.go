package stream

import "time"

// A lateAck decides when to warn that the broker does not acknowledge a publication, although the
// connection lives. Every lateAfter it looks at the oldest publication in flight. If two successive
// looks find the same publication, its ack is late.
//
// Invariant: checkAt is 0 while nothing is in flight.
type lateAck struct {
	checkAt time.Duration
	seq     uint64 // of the oldest publication in flight at the last look; 0: there was no look
	warned  bool   // on this connection
}

// lateAfter is the time between two looks. A broker needs far less to acknowledge a publication.
const lateAfter = 20 * time.Second

// slowBatch is the age of a batch from which the Store or the line, and not the broker, delays
// acks.
const slowBatch = lateAfter / 4

// late reports whether to warn now. The function oldest returns the sequence number of the oldest
// publication in flight, 0 for none. None is late while fluent is unset: when the session does not
// read, acks may lie unread, and behind a slow batch lie packets that the broker has not got.
func (a *lateAck) late(now time.Duration, fluent bool, inFlight int, oldest func() (seq uint64, at time.Duration)) bool {
	switch {
	case inFlight == 0 || a.warned:
		a.checkAt, a.seq = 0, 0
		return false
	case a.checkAt == 0 || !fluent:
		a.checkAt, a.seq = now+lateAfter, 0
		if fluent {
			a.seq, _ = oldest()
		}
		return false
	case now < a.checkAt:
		return false
	}
	was := a.seq
	a.checkAt = now + lateAfter
	a.seq, _ = oldest()
	a.warned = was != 0 && was == a.seq
	return a.warned
}

// written records that a batch of an age was written. After a slow one the broker has lateAfter for
// the acks of the packets in it and behind it.
func (a *lateAck) written(now, age time.Duration) {
	if a.checkAt != 0 && age >= slowBatch {
		a.checkAt, a.seq = now+lateAfter, 0
	}
}
