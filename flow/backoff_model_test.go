package flow

import (
	"testing"
	"time"

	"github.com/jpillora/backoff"
	"pgregory.net/rapid"
)

// backoffModel computes each interval from scratch, from the number of consecutive failures.
type backoffModel struct {
	min, max time.Duration
	factor   int // if factor is 1, no interval is longer than min

	failures int
	waited   time.Duration // the interval before the present connection or attempt
	due      time.Duration
	up       time.Duration
}

func (m *backoffModel) exact(slowest bool) time.Duration {
	if slowest {
		return m.longest()
	}
	d := min(m.min, m.max)
	for range m.failures {
		if d *= time.Duration(m.factor); d > m.max {
			return m.max
		}
	}
	return d
}

func (m *backoffModel) longest() time.Duration {
	if m.factor == 1 {
		return min(m.min, m.max)
	}
	return m.max
}

func (m *backoffModel) down(now time.Duration) {
	if lasted := now - m.up; lasted >= m.longest() || lasted >= 10*m.waited {
		m.failures = 0
	}
}

// backoffRun drives a Backoff and the model side by side.
type backoffRun struct {
	b      *Backoff
	m      *backoffModel
	jitter bool
	random func(n time.Duration) time.Duration // the random source of the present step
	now    time.Duration
	online bool
}

func newBackoffRun(t *rapid.T) *backoffRun {
	r := &backoffRun{jitter: rapid.Bool().Draw(t, "jitter"), m: &backoffModel{
		min:    time.Duration(rapid.IntRange(1, 5000).Draw(t, "min")) * time.Millisecond,
		max:    time.Duration(rapid.IntRange(1, 90_000).Draw(t, "max")) * time.Millisecond,
		factor: rapid.IntRange(1, 4).Draw(t, "factor"),
	}}
	policy := &backoff.Backoff{Min: r.m.min, Max: r.m.max, Factor: float64(r.m.factor), Jitter: r.jitter}
	r.b = NewBackoff(policy, func(n time.Duration) time.Duration { return r.random(n) })
	return r
}

func (r *backoffRun) schedule(t *rapid.T) {
	slowest := rapid.IntRange(0, 4).Draw(t, "slowest") == 0
	want, calls := r.m.exact(slowest), 0
	interval := want
	r.random = func(n time.Duration) time.Duration {
		calls++
		if n != interval/2+1 {
			t.Fatalf("jitter below %v was requested for an interval of %v", n, interval)
		}
		share := time.Duration(rapid.Int64Range(0, int64(n-1)).Draw(t, "share"))
		want -= share
		return share
	}
	r.b.Schedule(r.now, slowest)
	if calls > 1 || (calls == 1) != r.jitter {
		t.Fatalf("%d random numbers, jitter %v", calls, r.jitter)
	}
	r.m.waited, r.m.due = want, r.now+want
	r.m.failures++
	if want < interval/2 || want > interval {
		t.Fatalf("%v is not in the upper half of %v", want, interval)
	}
}

func TestBackoffModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newBackoffRun(t)
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if r.b.Due() != r.m.due || r.b.Failures() != r.m.failures {
					t.Fatalf("due at %v after %d failures, want %v and %d",
						r.b.Due(), r.b.Failures(), r.m.due, r.m.failures)
				}
			},
			"wait": func(t *rapid.T) {
				r.now += r.m.waited * time.Duration(rapid.IntRange(0, 11).Draw(t, "times"))
			},
			"wait long": func(t *rapid.T) {
				r.now += r.m.longest() + time.Duration(rapid.IntRange(-1, 1).Draw(t, "more"))
			},
			"attempt fails": func(t *rapid.T) {
				if r.online {
					t.Skip()
				}
				r.b.Start()
				r.schedule(t)
			},
			"attempt succeeds": func(t *rapid.T) {
				if r.online {
					t.Skip()
				}
				r.b.Start()
				r.b.Up(r.now)
				r.m.due, r.m.up, r.online = 0, r.now, true
			},
			"connection ends": func(t *rapid.T) {
				if !r.online {
					t.Skip()
				}
				if got := r.b.Down(r.now); got != r.now-r.m.up {
					t.Fatalf("it lasted %v, want %v", got, r.now-r.m.up)
				}
				r.m.down(r.now)
				r.online = false
				r.schedule(t)
			},
		})
	})
}
