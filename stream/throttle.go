package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// A throttle decides whether the session reads on, pauses until consumers have made room, or rests
// for a moment.
//
// Reading pauses while more than MaxUnread bytes of QoS 1 and 2 messages wait for consumers. The
// answers of the broker then wait behind these messages, so a consumer that waits for an answer
// would wait for itself. When nothing was read for behindAfter, the session is therefore behind:
// calls that wait for the broker end with ErrBehind. A session that was behind reads again when a
// sixteenth of MaxUnread is free. Otherwise a consumer that publishes would fall behind again, and
// wait again, after a few messages.
//
// Reading rests while consumers take messages from inboxes above the high-water mark, since QoS 0
// messages that are read faster than they are taken would only be dropped. Without rests, ten
// flooded clients on two processors dropped four messages for each delivered one. Each rest is
// short, and the next rest comes only after such a consumer has taken a message, so a sleeping
// consumer does not slow down reading. There is no rest while an answer is awaited.
type throttle struct {
	limit        int // ReceiveBytes
	maxUnread    int
	paused       bool          // reading waits for consumers or for the writer
	forConsumers bool          // paused, and not for the writer alone
	behind       bool          // reading has waited for consumers for behindAfter
	filled       bool          // set when more than maxUnread wait, cleared when half of it does
	crowded      bool          // set when QoS 0 rises above the high-water mark, cleared when it falls to half of it
	qos0Read     bool          // QoS 0 messages were read since the last decision
	pausedAt     time.Duration // when the pause began
	behindAt     time.Duration // when the session will be behind; 0 if it will not
	restUntil    time.Duration // nothing is read before this time
	consumed     uint64        // load.consumed at the last rest
}

const (
	behindAfter = time.Second
	maxRest     = 2 * time.Millisecond

	// maxAckBytes is how many bytes of acks may wait for a busy writer. It keeps acks from piling
	// up for a broker that does not read. Publications do not count: a broker may read them only
	// after we have read its bytes.
	maxAckBytes = 1 << 20

	// maxHighWater is enough to keep consumers busy during a rest. More in the inboxes has no use.
	maxHighWater = 1 << 20
)

// highWater returns how many bytes of QoS 0 may wait in the inboxes before reading rests.
func highWater(limit int) int { return min(limit/2, maxHighWater) }

// load is the input of throttle.decide.
type load struct {
	waiting    usage  // in the inboxes
	consumed   uint64 // how often consumers have taken from an inbox above half of the high-water mark
	unacked    int    // QoS 1 and 2 deliveries without an ack
	ackBytes   int    // bytes of acks to be written
	awaiting   bool   // an answer of the broker is awaited
	delivering bool   // the session is connected and accepts inbound messages
}

// decide sets whether reading goes on, pauses or rests. It returns the usage at which the next
// decision is due.
func (t *throttle) decide(now time.Duration, l load) (wakeAt usage) {
	mark := t.mark()
	full := l.waiting.unread > mark
	t.pause(now, l.delivering && (full || l.unacked > flow.MaxUnacked), l.ackBytes > maxAckBytes)
	t.filled = l.waiting.unread > t.maxUnread || t.filled && l.waiting.unread > t.maxUnread/2
	high := highWater(t.limit)
	t.crowded = l.waiting.qos0 > high || t.crowded && l.waiting.qos0 > high/2 // falling to half avoids a new rest after each read
	switch {
	case !t.crowded || !l.delivering || l.awaiting:
		t.restUntil = 0
	case t.qos0Read && l.consumed != t.consumed:
		t.restUntil, t.consumed = now+maxRest, l.consumed
	}
	t.qos0Read = false
	wakeAt = noUsage
	if full {
		wakeAt.unread = t.mark() // a session that has just fallen behind has another mark
	}
	if t.crowded {
		wakeAt.qos0 = high / 2
	}
	return wakeAt
}

// mark returns how many bytes of QoS 1 and 2 may wait while reading goes on.
func (t *throttle) mark() int {
	if t.behind {
		return t.maxUnread - t.maxUnread/16
	}
	return t.maxUnread
}

// pause begins a pause, goes on with it, or ends it.
func (t *throttle) pause(now time.Duration, forConsumers, forWriter bool) {
	was := t.paused
	t.paused, t.forConsumers = forConsumers || forWriter, forConsumers
	if t.paused && !was {
		t.pausedAt = now
	}
	at := t.pausedAt + behindAfter
	t.behind = forConsumers && now >= at
	t.behindAt = 0
	if forConsumers && !t.behind {
		t.behindAt = at
	}
}

// pausedFor returns how long reading has been paused.
func (t *throttle) pausedFor(now time.Duration) time.Duration {
	if !t.paused {
		return 0
	}
	return now - t.pausedAt
}

// reads reports whether to read at the time now.
func (t *throttle) reads(now time.Duration) bool { return !t.paused && now >= t.restUntil }
