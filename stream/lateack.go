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

// late reports whether to warn now. The function oldest returns the sequence number of the oldest
// publication in flight, 0 for none. While the session does not read, acks may lie unread, and none
// is late.
func (a *lateAck) late(now time.Duration, reading bool, inFlight int, oldest func() (seq uint64, at time.Duration)) bool {
	switch {
	case inFlight == 0 || a.warned:
		a.checkAt, a.seq = 0, 0
		return false
	case a.checkAt == 0 || !reading:
		a.checkAt, a.seq = now+lateAfter, 0
		if reading {
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
