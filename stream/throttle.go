package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// A throttle decides whether to read on, to pause until consumers have made room, or to rest for a
// moment.
//
// Reading pauses when more than ReceiveBytes wait for consumers. While an answer of the broker is
// awaited it pauses only at awaitingFactor times as much: the answer lies behind messages that a
// consumer has not taken, and that consumer may be the one who waits for it.
//
// Reading rests while consumers take from inboxes above the high-water mark: QoS 0 that is read
// faster than it is taken would only be dropped. Without that, ten flooded clients on two
// processors dropped four messages for each that they delivered. Each rest is short, and the next
// one comes only after such a consumer has taken something: a sleeping consumer holds up nothing.
// There is no rest while an answer is awaited.
type throttle struct {
	limit     int           // ReceiveBytes
	paused    bool          // reading waits for consumers
	crowded   bool          // the inboxes are above the high-water mark, or were and are not yet below half of it
	restUntil time.Duration // nothing is read before
	consumed  uint64        // load.consumed at the last rest
	qos0Read  bool          // QoS 0 messages were read since the last decision
}

const (
	awaitingFactor = 4
	maxRest        = 2 * time.Millisecond

	// maxBacklog is how many bytes may wait for a busy writer: answers must not pile up for a
	// broker that does not read.
	maxBacklog = 1 << 20

	// maxHighWater keeps consumers busy over a rest. More in the inboxes would do no good.
	maxHighWater = 1 << 20
)

// highWater returns how many bytes may wait in the inboxes before reading rests.
func highWater(limit int) int { return min(limit/2, maxHighWater) }

// load is the state that the decision depends on.
type load struct {
	waiting    int    // bytes in the inboxes
	consumed   uint64 // how often consumers took from an inbox above half of the high-water mark
	unacked    int    // QoS 1 and 2 deliveries without an ack
	backlog    int    // bytes to be written
	awaiting   bool   // an answer of the broker is awaited
	delivering bool   // inbound messages are taken
}

// decide sets how reading goes on. It returns the number of waiting bytes at which the next
// decision is due, -1 for none.
func (t *throttle) decide(now time.Duration, l load) (wakeAt int) {
	limits := 1
	if l.awaiting {
		limits = awaitingFactor
	}
	high := highWater(t.limit)
	full := l.waiting/limits > t.limit
	t.crowded = l.waiting > high || t.crowded && l.waiting > high/2 // else a rest would begin anew with each read
	t.paused = l.delivering && (full || l.unacked > flow.MaxUnacked) || l.backlog > maxBacklog
	switch {
	case !t.crowded || !l.delivering || l.awaiting:
		t.restUntil = 0
	case t.qos0Read && l.consumed != t.consumed:
		t.restUntil, t.consumed = now+maxRest, l.consumed
	}
	t.qos0Read = false
	switch {
	case full:
		return t.limit
	case t.crowded:
		return high / 2
	}
	return -1
}

// reads reports whether to read at now.
func (t *throttle) reads(now time.Duration) bool { return !t.paused && now >= t.restUntil }
