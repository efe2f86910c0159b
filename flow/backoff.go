package flow

import (
	"time"

	"github.com/jpillora/backoff"
)

// Backoff decides when to connect again. The intervals come from a policy of the user; failures in
// a row lengthen them.
//
// The jitter of the policy's library gives every client the same first interval, Min, and the same
// late ones, Max, so that a fleet would return in step. The intervals are taken from the library
// without jitter and spread here over their upper half.
type Backoff struct {
	policy *backoff.Backoff
	max    time.Duration
	jitter func(n time.Duration) time.Duration // nil for exact intervals

	failures int           // in a row; a connection that did not last is one
	delay    time.Duration // before the present connection or attempt
	due      time.Duration // of the next attempt; 0 for none
	upSince  time.Duration
}

// NewBackoff takes over the policy. If the policy asks for jitter, random(n) gives the part of it,
// from 0 up to n exclusive.
func NewBackoff(policy *backoff.Backoff, random func(n time.Duration) time.Duration) *Backoff {
	b := &Backoff{policy: policy}
	if policy.Jitter {
		b.jitter, policy.Jitter = random, false
	}
	b.max = policy.ForAttempt(1 << 20)
	return b
}

// Schedule plans the next attempt after a failure; with slowest after the longest interval.
func (b *Backoff) Schedule(now time.Duration, slowest bool) {
	b.delay = b.policy.ForAttempt(float64(b.failures))
	if slowest {
		b.delay = b.max
	}
	if b.jitter != nil {
		b.delay -= b.jitter(b.delay/2 + 1)
	}
	b.failures++
	b.due = now + b.delay
}

// Due returns when the next attempt is due, 0 for none.
func (b *Backoff) Due() time.Duration { return b.due }

// Start records that the attempt has begun.
func (b *Backoff) Start() { b.due = 0 }

// Up records that the attempt has succeeded.
func (b *Backoff) Up(now time.Duration) { b.upSince = now }

// Down records the end of a connection and returns how long it lasted. The intervals start over if
// that was ten times the interval before it, or the longest one: a broker that accepts and drops
// connections does not earn a fast return.
func (b *Backoff) Down(now time.Duration) (lasted time.Duration) {
	lasted = now - b.upSince
	if lasted >= min(10*b.delay, b.max) {
		b.failures = 0
	}
	return lasted
}

// Failures returns how many attempts or connections have failed in a row.
func (b *Backoff) Failures() int { return b.failures }
