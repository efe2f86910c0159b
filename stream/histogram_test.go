package stream

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// durations draws a duration, mostly in the range of the buckets, and sometimes at or beside a
// bound.
func durations() *rapid.Generator[time.Duration] {
	return rapid.OneOf(
		rapid.Map(rapid.Float64Range(0, 45), func(x float64) time.Duration { return time.Duration(math.Exp2(x)) }),
		rapid.Custom(func(t *rapid.T) time.Duration {
			i := rapid.IntRange(0, HistogramBuckets-2).Draw(t, "bucket")
			return bucketBounds[i] + time.Duration(rapid.IntRange(-1, 1).Draw(t, "beside"))
		}),
		rapid.SampledFrom([]time.Duration{0, 1, math.MaxInt64, time.Second, 1024 * time.Second}),
	)
}

// The model is the sorted list of all durations.
func TestAHistogramCountsAsASortedListDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []time.Duration
		var sum time.Duration
		var recorded histogram
		for range rapid.IntRange(0, 60).Draw(t, "durations") {
			d, n := durations().Draw(t, "duration"), rapid.IntRange(1, 3).Draw(t, "times")
			recorded.record(d, uint64(n))
			for range n {
				list = append(list, d)
				sum += d
			}
		}
		slices.Sort(list)
		var h Histogram
		recorded.read(&h)
		if h.Count != uint64(len(list)) || h.Sum != sum {
			t.Fatalf("got %d durations of %d in sum, want %d of %d", h.Count, h.Sum, len(list), sum)
		}
		rest, low := list, time.Duration(-1)
		for i, got := range h.Buckets {
			n := 0
			for n < len(rest) && rest[n] > low && rest[n] <= h.Bound(i) {
				n++
			}
			if got != uint64(n) {
				t.Fatalf("bucket %d up to %v: got %d, want %d", i, h.Bound(i), got, n)
			}
			rest, low = rest[n:], h.Bound(i)
		}
		if len(rest) > 0 {
			t.Fatalf("%v are in no bucket", rest)
		}
		checkQuantile(t, &h, list, rapid.Float64Range(0, 1).Draw(t, "q"))
	})
}

// checkQuantile compares a quantile with the exact one of a sorted list.
func checkQuantile(t *rapid.T, h *Histogram, list []time.Duration, q float64) {
	got := h.Quantile(q)
	if len(list) == 0 {
		if got != 0 {
			t.Fatalf("an empty Histogram has the quantile %v", got)
		}
		return
	}
	exact := list[max(1, int(math.Ceil(q*float64(len(list)))))-1]
	last := HistogramBuckets - 1
	if bucketOf(exact) == last {
		if got != h.Bound(last-1) {
			t.Fatalf("quantile %v: got %v, want %v for %v", q, got, h.Bound(last-1), exact)
		}
		return
	}
	if bucketOf(got) != bucketOf(exact) {
		t.Fatalf("quantile %v: got %v, which is not in the bucket of %v", q, got, exact)
	}
}

// The bounds are the powers of two to the quarter of the native index, as Prometheus defines them.
func TestBucketsAreTheBucketsOfPrometheus(t *testing.T) {
	var h Histogram
	for native, want := range map[int]time.Duration{
		-80: 953 * time.Nanosecond, -20: 31250 * time.Microsecond, -4: 500 * time.Millisecond, -1: 840896415 * time.Nanosecond,
		0: time.Second, 1: 1189207115 * time.Nanosecond, 4: 2 * time.Second, 36: 512 * time.Second, 39: 861077929219 * time.Nanosecond,
	} {
		if got := h.Bound(native - HistogramFirst); got != want {
			t.Errorf("native index %d: got the bound %d, want %d", native, got, want)
		}
	}
	for i, want := range map[int]time.Duration{
		math.MinInt: 0, -1: 0, HistogramBuckets - 1: math.MaxInt64, HistogramBuckets: math.MaxInt64, math.MaxInt: math.MaxInt64,
	} {
		if got := h.Bound(i); got != want {
			t.Errorf("bucket %d: got the bound %d, want %d", i, got, want)
		}
	}
	var recorded histogram
	recorded.record(time.Second, 2)
	recorded.record(time.Second+1, 1)
	recorded.record(-1, 1)
	recorded.read(&h)
	got := make(map[int]uint64)
	for native, n := range h.Native() {
		got[native] = n
	}
	if want := (map[int]uint64{HistogramFirst: 1, 0: 2, 1: 1}); !equalCounts(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func equalCounts(a, b map[int]uint64) bool {
	for k, n := range b {
		if a[k] != n {
			return false
		}
	}
	return len(a) == len(b)
}

func TestSubLeavesTheDurationsRecordedSince(t *testing.T) {
	var recorded histogram
	var earlier, now Histogram
	recorded.record(time.Millisecond, 3)
	recorded.read(&earlier)
	recorded.record(time.Second, 2)
	recorded.read(&now)
	now.Sub(&earlier)
	if now.Count != 2 || now.Sum != 2*time.Second || now.Mean() != time.Second || bucketOf(now.Quantile(0)) != bucketOf(time.Second) {
		t.Errorf("got %d of %v", now.Count, now.Sum)
	}
	var empty Histogram
	if empty.Mean() != 0 {
		t.Errorf("an empty Histogram has the mean %v", empty.Mean())
	}
}

func BenchmarkHistogramRecord(b *testing.B) {
	var h histogram
	for i := range b.N {
		h.record(time.Duration(i)*time.Microsecond, 1)
	}
}
