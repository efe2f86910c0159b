package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// A throttle decides whether the session reads on, pauses until consumers have made room, or rests
// for a moment.
//
// Reading pauses when more than ReceiveBytes wait for consumers. While an answer of the broker is
// awaited, reading pauses only at awaitingFactor times ReceiveBytes. Otherwise a consumer could
// wait for an answer that is never read, because it lies behind messages for that consumer.
//
// Reading rests while consumers take messages from inboxes above the high-water mark, since QoS 0
// messages that are read faster than they are taken would only be dropped. Without rests, ten
// flooded clients on two processors dropped four messages for each delivered one. Each rest is
// short, and the next rest comes only after such a consumer has taken a message, so a sleeping
// consumer does not slow down reading. There is no rest while an answer is awaited.
type throttle struct {
	limit     int           // ReceiveBytes
	paused    bool          // reading waits for consumers
	crowded   bool          // set when the inboxes rise above the high-water mark, cleared when they fall to half of it
	qos0Read  bool          // QoS 0 messages were read since the last decision
	restUntil time.Duration // nothing is read before this time
	consumed  uint64        // load.consumed at the last rest
}

const (
	awaitingFactor = 4
	maxRest        = 2 * time.Millisecond

	// maxBacklog is how many bytes may wait for a busy writer. It keeps acks from piling up for a
	// broker that does not read.
	maxBacklog = 1 << 20

	// maxHighWater is enough to keep consumers busy during a rest. More in the inboxes has no use.
	maxHighWater = 1 << 20
)

// highWater returns how many bytes may wait in the inboxes before reading rests.
func highWater(limit int) int { return min(limit/2, maxHighWater) }

// load is the input of throttle.decide.
type load struct {
	waiting    int    // bytes in the inboxes
	consumed   uint64 // how often consumers have taken from an inbox above half of the high-water mark
	unacked    int    // QoS 1 and 2 deliveries without an ack
	backlog    int    // bytes to be written
	awaiting   bool   // an answer of the broker is awaited
	delivering bool   // inbound messages are accepted
}

// decide sets whether reading goes on, pauses or rests. It returns the number of waiting bytes at
// which the next decision is due, -1 for none.
func (t *throttle) decide(now time.Duration, l load) (wakeAt int) {
	limits := 1
	if l.awaiting {
		limits = awaitingFactor
	}
	high := highWater(t.limit)
	full := l.waiting/limits > t.limit
	t.crowded = l.waiting > high || t.crowded && l.waiting > high/2 // falling to half avoids a new rest after each read
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

// reads reports whether to read at the time now.
func (t *throttle) reads(now time.Duration) bool { return !t.paused && now >= t.restUntil }
