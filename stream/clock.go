package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// A clock has the time of the loop, which stands still during a turn, and wakes the loop at the
// earliest deadline. A deadline is a duration since epoch; 0 means that there is none.
//
// The timer calls a function. A timer with a channel takes more memory, and a select that waits for
// it needs more than the smallest stack.
type clock struct {
	epoch time.Time
	now   time.Duration
	timer *time.Timer
	armed time.Duration // the time at which the timer fires; 0 if the timer is off
	burst burst
}

// newClock returns a clock whose timer calls wake.
func newClock(wake func()) clock {
	timer := time.AfterFunc(time.Hour, wake)
	timer.Stop()
	return clock{epoch: time.Now(), timer: timer}
}

// tick reads the time. It reports whether the time has come for which the timer was set.
func (c *clock) tick() (due bool) {
	c.now = time.Since(c.epoch)
	if due = c.armed != 0 && c.now >= c.armed; due {
		c.armed = 0
	}
	return due
}

// since converts t to a duration since epoch.
func (c *clock) since(t time.Time) time.Duration { return t.Sub(c.epoch) }

// expiry returns when a message that is accepted now expires: after its message expiry interval, or
// else after the fallback, where 0 is never.
func (c *clock) expiry(p *frames.Properties, fallback time.Duration) flow.Expiry {
	if p == nil && fallback == 0 {
		return flow.Expiry{}
	}
	now := c.epoch.Add(c.now)
	left, ok := p.Left(now)
	if !ok {
		if left = fallback; left == 0 {
			return flow.Expiry{}
		}
	}
	return flow.Expiry{At: max(1, c.now+left), Wall: time.Now().Add(left)}
}

// arm sets the timer to the earliest deadline that has not passed. If the timer already fires
// before that deadline, arm leaves it alone, since a turn without work does no harm.
func (c *clock) arm(deadlines ...time.Duration) {
	at := time.Duration(0)
	for _, d := range deadlines {
		if d > c.now && (at == 0 || d < at) {
			at = d
		}
	}
	if at != 0 && (c.armed == 0 || at < c.armed) {
		c.timer.Reset(at - c.now)
		c.armed = at
	}
}

func (c *clock) stop() { c.timer.Stop() }
