package flow

import (
	"time"

	"github.com/jpillora/backoff"
)

// Backoff decides when to connect again. The intervals come from a policy of the user; each
// consecutive failure lengthens them.
//
// With the jitter of the backoff library, all clients have the same first interval, Min, and in the
// end the same interval, Max, so they would reconnect at the same moment. Backoff therefore uses
// the library without jitter, and takes a random time from the upper half of each interval.
type Backoff struct {
	policy *backoff.Backoff
	max    time.Duration
	jitter func(n time.Duration) time.Duration // nil for exact intervals

	failures int           // consecutive failures; a short connection counts as a failure
	delay    time.Duration // the wait before the present connection or attempt
	due      time.Duration // the time of the next attempt; 0: none is planned
	upSince  time.Duration
}

// NewBackoff only reads policy, so several Backoffs may share it. If the policy asks for jitter,
// random(n) must return a random time from 0 up to n exclusive.
func NewBackoff(policy *backoff.Backoff, random func(n time.Duration) time.Duration) *Backoff {
	b := &Backoff{policy: policy}
	if policy.Jitter {
		b.jitter = random
	}
	b.max = b.exact(1 << 20)
	return b
}

// exact returns the interval of the policy after a number of failures, without jitter.
func (b *Backoff) exact(failures int) time.Duration {
	p := backoff.Backoff{Min: b.policy.Min, Max: b.policy.Max, Factor: b.policy.Factor}
	return p.ForAttempt(float64(failures))
}

// Schedule plans the next attempt after a failure. If slowest is set, the attempt waits for the
// longest interval.
func (b *Backoff) Schedule(now time.Duration, slowest bool) {
	b.delay = b.exact(b.failures)
	if slowest {
		b.delay = b.max
	}
	if b.jitter != nil {
		b.delay -= b.jitter(b.delay/2 + 1)
	}
	b.failures++
	b.due = now + b.delay
}

// Due returns the time of the next attempt, or 0 if none is planned.
func (b *Backoff) Due() time.Duration { return b.due }

// Start records that the attempt has begun.
func (b *Backoff) Start() { b.due = 0 }

// Up records that the attempt has succeeded.
func (b *Backoff) Up(now time.Duration) { b.upSince = now }

// Down records the end of a connection and returns how long it lasted. The intervals start over if
// the connection lasted ten times as long as the wait before it, or as long as the longest
// interval. If a broker accepts connections and soon drops them, the intervals therefore keep
// growing.
func (b *Backoff) Down(now time.Duration) (lasted time.Duration) {
	lasted = now - b.upSince
	if lasted >= min(10*b.delay, b.max) {
		b.failures = 0
	}
	return lasted
}

// Failures returns how many attempts or connections have failed in a row.
func (b *Backoff) Failures() int { return b.failures }
