package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// maxBacklog is how many bytes may wait for a writer that is busy before
// reading pauses: answers must not pile up for a broker that does not read.
const maxBacklog = 1 << 20

// patience is how many times ReceiveBytes may be in use while an answer of the
// broker is awaited.
const patience = 4

// pause decides whether the next turn listens to the reader. What a publish or
// a Subscribe waits for lies behind the messages that a consumer has not taken,
// and it may be that consumer who waits: so reading goes on for longer then.
func (l *loop) pause() {
	was, limits := l.paused, 1
	if l.sender.InFlight() > 0 || len(l.subs.asked) > 0 {
		limits = patience
	}
	full, crowded, bites := l.s.boxes.check(limits)
	l.paused = l.draining == running && // Shutdown takes no messages, but acks
		(full || l.receiver.Unacked() > flow.MaxUnacked) ||
		len(l.next.bytes) > maxBacklog
	if was && !l.paused {
		l.keep.heard(l.now) // the silence was ours
	}
	l.easeReading(crowded && l.draining == running && limits == 1, bites)
}

// maxEase is how long reading rests at most after each read.
const maxEase = 2 * time.Millisecond

// ease is what keeps reading from taking the processors from those who take the
// messages.
type ease struct {
	until time.Duration // nothing is read before
	bites uint64        // as the inboxes had counted them at the last rest
	read  bool          // QoS 0 messages were, in this turn
}

// easeReading lets reading rest while the inboxes are crowded and a consumer whose
// inbox crowds them is at work: QoS 0 that is read faster than it is taken would
// only be dropped. Without it, ten flooded clients on two processors dropped four
// messages for each that they delivered. Each rest is short, and there is no other
// before such a consumer has taken something: one that sleeps holds up nothing.
// There is none while an answer of the broker is awaited, perhaps by a consumer.
func (l *loop) easeReading(crowded bool, bites uint64) {
	e := &l.ease
	switch {
	case !crowded:
		e.until = 0
	case e.read && bites != e.bites:
		e.until, e.bites = l.now+maxEase, bites
	}
	e.read = false
}
