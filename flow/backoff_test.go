package flow

import (
	"testing"
	"time"

	"github.com/jpillora/backoff"
)

// noJitter fails the test when it is called.
func noJitter(t *testing.T) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration {
		t.Error("jitter was used, but the policy has none")
		return 0
	}
}

func doubling() *backoff.Backoff {
	return &backoff.Backoff{Min: sec, Max: 60 * sec, Factor: 2}
}

// failed schedules an attempt at now and returns how long it waits.
func failed(b *Backoff, now time.Duration, slowest bool) time.Duration {
	b.Schedule(now, slowest)
	return b.Due() - now
}

func TestIntervalsGrowWithTheFailuresInARow(t *testing.T) {
	b := NewBackoff(doubling(), noJitter(t))
	equal(t, "due at first", b.Due(), 0)
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		equal(t, "failures", b.Failures(), i)
		equal(t, "interval", failed(b, time.Duration(i)*time.Hour, false), want*sec)
		b.Start()
		equal(t, "due after the start", b.Due(), 0)
	}
}

func TestSlowestTakesTheLongestIntervalAndCountsAsAFailure(t *testing.T) {
	b := NewBackoff(doubling(), noJitter(t))
	equal(t, "slowest", failed(b, 0, true), 60*sec)
	equal(t, "the next one", failed(b, 0, false), 2*sec)
	one := NewBackoff(&backoff.Backoff{}, noJitter(t)) // the defaults of the library
	equal(t, "slowest of the defaults", failed(one, 0, true), 10*sec)
}

// With jitter, an interval of 4 s becomes 2 s to 4 s. The random number is below n, so 2 s is
// possible.
func TestJitterSpreadsOverTheUpperHalfOfAnInterval(t *testing.T) {
	policy := &backoff.Backoff{Min: 4 * sec, Max: 60 * sec, Factor: 2, Jitter: true}
	var share, asked time.Duration
	b := NewBackoff(policy, func(n time.Duration) time.Duration {
		asked = n
		return min(share, n-1)
	})
	equal(t, "interval without a share", failed(b, 0, false), 4*sec)
	equal(t, "range of the share", asked, 2*sec+1)
	share = time.Hour
	equal(t, "interval with the whole share", failed(b, 0, false), 4*sec) // the interval is 8 s
	equal(t, "slowest with the whole share", failed(b, 0, true), 30*sec)
	share = sec
	equal(t, "slowest with a share of 1 s", failed(b, 0, true), 59*sec)
}

func TestIntervalsStartOverAfterAConnectionThatLasted(t *testing.T) {
	for _, c := range []struct {
		name     string
		before   int // failures before the connection
		lasted   time.Duration
		failures int
	}{
		{"first connection of all", 0, 0, 0},
		{"ten times 4 s", 3, 40 * sec, 0},
		{"not quite ten times 4 s", 3, 40*sec - 1, 3},
		{"dropped at once", 1, 0, 1},
		{"the longest interval", 5, 60 * sec, 0},
		{"not quite the longest interval", 5, 60*sec - 1, 5},
		{"ten times the longest would be too much", 9, 60 * sec, 0},
	} {
		b := NewBackoff(doubling(), noJitter(t))
		for range c.before {
			b.Schedule(0, false)
		}
		b.Start()
		b.Up(7 * sec)
		equal(t, c.name+": lasted", b.Down(7*sec+c.lasted), c.lasted)
		equal(t, c.name+": failures", b.Failures(), c.failures)
		equal(t, c.name+": interval", failed(b, 0, false), min(sec<<c.failures, 60*sec))
	}
}

// The duration of a connection is compared with the wait before it, jitter included.
func TestJitterShortensTheProofOfAConnection(t *testing.T) {
	policy := &backoff.Backoff{Min: 2 * sec, Max: 60 * sec, Factor: 2, Jitter: true}
	b := NewBackoff(policy, func(n time.Duration) time.Duration { return n - 1 })
	equal(t, "interval", failed(b, 0, false), sec)
	b.Up(0)
	b.Down(10*sec - 1)
	equal(t, "failures after a short connection", b.Failures(), 1)
	b.Up(0)
	b.Down(10 * sec)
	equal(t, "failures after a long one", b.Failures(), 0)
}
