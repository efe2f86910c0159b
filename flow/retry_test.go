package flow

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestRetryZeroFieldsTakeTheirDefaults(t *testing.T) {
	got, err := Retry{}.WithDefaults()
	want := Retry{Initial: 4 * time.Second, Max: 1024 * time.Second, Bandwidth: 10_000, Factor: 2}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	set := Retry{Initial: time.Second, Max: time.Second, Bandwidth: 0.5, Factor: 1}
	if got, err := set.WithDefaults(); err != nil || got != set {
		t.Errorf("fields that are set: got %+v, %v", got, err)
	}
	if _, err := (Retry{Initial: 1024 * time.Second}).WithDefaults(); err != nil {
		t.Errorf("the longest Initial: %v", err)
	}
}

func TestRetryErrorNamesFieldAndLimit(t *testing.T) {
	s := time.Second
	for _, c := range []struct {
		r    Retry
		want []string
	}{
		{Retry{Initial: s - 1}, []string{"Retry.Initial", "999.999999ms", "1 s to 1,024 s"}},
		{Retry{Initial: 1024*s + 1}, []string{"Retry.Initial", "1 s to 1,024 s"}},
		{Retry{Initial: -s}, []string{"Retry.Initial is -1s", "1 s to 1,024 s"}},
		{Retry{Max: 4*s - 1}, []string{"Retry.Max", "Retry.Initial (4s)"}},
		{Retry{Max: 1024*s + 1}, []string{"Retry.Max", "1,024 s"}},
		{Retry{Max: -s}, []string{"Retry.Max is -1s"}},
		{Retry{Bandwidth: -1}, []string{"Retry.Bandwidth is -1", "above 0"}},
		{Retry{Bandwidth: math.NaN()}, []string{"Retry.Bandwidth is NaN"}},
		{Retry{Bandwidth: math.Inf(1)}, []string{"Retry.Bandwidth is +Inf"}},
		{Retry{Factor: 0.99}, []string{"Retry.Factor is 0.99", "below 1"}},
		{Retry{Factor: math.NaN()}, []string{"Retry.Factor is NaN"}},
		{Retry{Factor: math.Inf(1)}, []string{"Retry.Factor is +Inf"}},
	} {
		_, err := c.r.WithDefaults()
		if err == nil {
			t.Errorf("%+v was accepted", c.r)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%+v: %q does not say %q", c.r, err, part)
			}
		}
	}
}

func TestPublishWaitsLongerForLargerPayloadsAndLaterAttempts(t *testing.T) {
	r := Retry{Initial: 4 * time.Second, Max: 1024 * time.Second, Bandwidth: 10_000, Factor: 2}
	for _, c := range []struct {
		size, attempt int
		want          time.Duration
	}{
		{0, 0, 4 * time.Second},
		{0, 63, 4 * time.Second},
		{5_000, 0, 4500 * time.Millisecond},
		{5_000, 1, 5 * time.Second},
		{5_000, 2, 6 * time.Second},
		{5_000, 10, 516 * time.Second},
		{100_000, 0, 14 * time.Second},
		{100_000, 3, 84 * time.Second},
	} {
		if got := r.Publish(c.size, c.attempt); got != c.want {
			t.Errorf("%d bytes, attempt %d: %v, want %v", c.size, c.attempt, got, c.want)
		}
	}
	r.Factor = 1
	equal(t, "with factor 1", r.Publish(5_000, 40), 4500*time.Millisecond)
}

func TestPublishNeverWaitsLessThanInitialOrMoreThanADay(t *testing.T) {
	for _, r := range []Retry{
		{Initial: time.Second, Bandwidth: math.SmallestNonzeroFloat64, Factor: math.MaxFloat64},
		{Initial: 1024 * time.Second, Bandwidth: math.MaxFloat64, Factor: math.MaxFloat64},
		{Initial: time.Second, Bandwidth: 1, Factor: 2},
		{Initial: time.Second, Bandwidth: 1e9, Factor: 1},
	} {
		r, err := r.WithDefaults()
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 1, 268_435_455} {
			last := r.Initial
			for attempt := range 64 {
				got := r.Publish(size, attempt)
				if got < last || got > 24*time.Hour {
					t.Fatalf("%+v: %d bytes, attempt %d: %v after %v", r, size, attempt, got, last)
				}
				last = got
			}
		}
	}
}

func TestControlPacketsWaitTwiceAsLongEachTimeUpToMax(t *testing.T) {
	r := Retry{Initial: 3 * time.Second, Max: 20 * time.Second}
	for attempt, want := range []time.Duration{3, 6, 12, 20, 20} {
		equal(t, "interval", r.Control(attempt), want*time.Second)
	}
	equal(t, "attempt 10,000", r.Control(10_000), 20*time.Second)
	r.Max = r.Initial
	equal(t, "with Max as Initial", r.Control(3), 3*time.Second)
}
