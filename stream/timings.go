package stream

import (
	"sync/atomic"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Timings are the histograms of a session. Recording begins with the first call of Session.Timings;
// before, it costs nothing. Durations that began before that call are not recorded.
//
// The loop reads the clock once in each turn, so all events of one read or write have the same
// time. The time of a hand-over to a consumer is read separately.
type Timings struct {
	// Published are the publications that ended without an error, by QoS: from their acceptance to
	// their Receipt.
	Published [3]Histogram

	// HandedOver are the messages that consumers received: from the read that returned the message
	// to the hand-over. The time of a requeued message begins when it was put back.
	HandedOver Histogram

	// Acked are the QoS 1 and 2 deliveries that their consumer acknowledged or rejected on the same
	// connection: from the hand-over to the ack. It is 0 for Messages and Latest, which ack each
	// message at its hand-over.
	Acked Histogram

	// Connect are the connection attempts that succeeded: from the beginning of the attempt, with
	// the endpoints that failed first, to CONNACK.
	Connect Histogram

	// Commit are the commits of the Store that succeeded.
	Commit Histogram

	// Ping are the PINGREQ packets that were answered: until PINGRESP.
	Ping Histogram
}

// recordings are the histograms behind Timings.
type recordings struct {
	published                                [3]histogram
	handedOver, acked, connect, commit, ping histogram
}

// timings have the recordings of a session, from the first call of Session.Timings. Any goroutine
// may record.
type timings struct{ made atomic.Pointer[recordings] }

// begun returns the recordings, nil if Session.Timings was not called yet.
func (t *timings) begun() *recordings {
	if t == nil { // in tests of other owners
		return nil
	}
	return t.made.Load()
}

// published records n publications that took d each.
func (t *timings) published(q frames.QoS, d time.Duration, n int) {
	if r := t.begun(); r != nil {
		r.published[q].record(d, uint64(n))
	}
}

func (t *timings) connect(d time.Duration) {
	if r := t.begun(); r != nil {
		r.connect.record(d, 1)
	}
}

// handedOver records n messages that arrived at the same time, 0 if that is not known.
func (t *timings) handedOver(now, arrived time.Duration, n int) {
	if r := t.begun(); r != nil && arrived != 0 {
		r.handedOver.record(now-arrived, uint64(n))
	}
}

func (t *timings) acked(d time.Duration) {
	if r := t.begun(); r != nil {
		r.acked.record(d, 1)
	}
}

// elapsed returns the time since began on the clock of the loop, 0 if nothing is recorded.
func (t *timings) elapsed(began time.Duration, c *clock) time.Duration {
	if t.begun() == nil {
		return 0
	}
	return time.Since(c.epoch) - began
}

// committing returns the time at which a commit begins, zero if nothing is recorded.
func (t *timings) committing() (began time.Time) {
	if t.begun() != nil {
		began = time.Now()
	}
	return began
}

// committed records a commit that began at the time began.
func (t *timings) committed(began time.Time) {
	if r := t.begun(); r != nil && !began.IsZero() {
		r.commit.record(time.Since(began), 1)
	}
}

func (t *timings) ping(d time.Duration) {
	if r := t.begun(); r != nil {
		r.ping.record(d, 1)
	}
}

// read copies the present values to to, unless to is nil. The first call begins the recording.
func (t *timings) read(to *Timings) {
	r := t.made.Load()
	if r == nil {
		t.made.CompareAndSwap(nil, new(recordings))
		r = t.made.Load()
	}
	if to == nil {
		return
	}
	for q := range r.published {
		r.published[q].read(&to.Published[q])
	}
	r.handedOver.read(&to.HandedOver)
	r.acked.read(&to.Acked)
	r.connect.read(&to.Connect)
	r.commit.read(&to.Commit)
	r.ping.read(&to.Ping)
}
