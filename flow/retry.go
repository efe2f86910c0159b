package flow

import (
	"fmt"
	"math"
	"time"

	"github.com/jpillora/backoff"
)

// Retry configures how long a publisher waits for an acknowledgment on a live connection before it
// sends the packet again. MQTT 3.1 allows such retransmission; 3.1.1 requires it only after a
// reconnect (section 4.4). Over TCP it rarely helps, so leave it off unless the path to the broker
// loses packets.
//
// A PUBLISH waits Initial + k*size/Bandwidth, where k is 1 at first and is multiplied by Factor at
// each attempt, so that a large payload on a slow line has enough time. PUBREL, SUBSCRIBE and
// UNSUBSCRIBE wait Initial, doubled at each attempt up to Max.
type Retry struct {
	Initial   time.Duration // 1 s to 1,024 s; default 4 s
	Max       time.Duration // Initial to 1,024 s; default 1,024 s
	Bandwidth float64       // bytes per second, above 0; default 10,000
	Factor    float64       // 1 or more; default 2
}

const (
	minRetry = time.Second
	maxRetry = 1024 * time.Second
)

// A RetryError names a field of Retry that is outside its limits.
type RetryError struct {
	Field  string // such as "Retry.Initial"
	Reason string // its value and the limits
}

func (e *RetryError) Error() string { return e.Field + " " + e.Reason }

func outside(field, format string, args ...any) error {
	return &RetryError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// WithDefaults returns r with defaults for its zero fields, or a *RetryError.
func (r Retry) WithDefaults() (Retry, error) {
	if r.Initial == 0 {
		r.Initial = 4 * time.Second
	}
	if r.Max == 0 {
		r.Max = maxRetry
	}
	if r.Bandwidth == 0 {
		r.Bandwidth = 10_000
	}
	if r.Factor == 0 {
		r.Factor = 2
	}
	switch {
	case r.Initial < minRetry || r.Initial > maxRetry:
		return r, outside("Retry.Initial", "is %v, outside 1 s to 1,024 s", r.Initial)
	case r.Max < r.Initial || r.Max > maxRetry:
		return r, outside("Retry.Max", "is %v, outside Retry.Initial (%v) to 1,024 s", r.Max, r.Initial)
	case !(r.Bandwidth > 0) || math.IsInf(r.Bandwidth, 0):
		return r, outside("Retry.Bandwidth", "is %v bytes per second, not above 0", r.Bandwidth)
	case !(r.Factor >= 1) || math.IsInf(r.Factor, 0):
		return r, outside("Retry.Factor", "is %v, below 1", r.Factor)
	}
	return r, nil
}

// Publish returns how long a PUBLISH of size bytes waits for its ack before it is sent again, at
// most a day. The parameter attempt is 0 after the first transmission.
func (r *Retry) Publish(size, attempt int) time.Duration {
	const day = 24 * time.Hour
	k := math.Pow(r.Factor, float64(attempt))
	k = min(k, math.MaxFloat64) // infinity times size 0 would be NaN
	extra := k * float64(size) / r.Bandwidth * float64(time.Second)
	if extra > float64(day-r.Initial) {
		return day
	}
	return r.Initial + time.Duration(extra)
}

// Control returns how long a PUBREL, SUBSCRIBE or UNSUBSCRIBE waits for its ack before it is sent
// again. The parameter attempt is 0 after the first transmission.
func (r *Retry) Control(attempt int) time.Duration {
	b := backoff.Backoff{Min: r.Initial, Max: r.Max, Factor: 2}
	return b.ForAttempt(float64(attempt))
}
