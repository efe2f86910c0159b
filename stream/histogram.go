package stream

import (
	"iter"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// The buckets of a Histogram are the buckets of a Prometheus native histogram with schema
// HistogramSchema: the bucket with the native index k counts durations above 2^((k-1)/4) seconds
// and up to 2^(k/4) seconds. Bucket 0 has the native index HistogramFirst. In an OpenTelemetry
// exponential histogram with scale HistogramSchema the index of each bucket is lower by 1.
const (
	HistogramBuckets = 121
	HistogramSchema  = 2
	HistogramFirst   = -80
)

// Histogram counts durations in buckets that are a quarter of an octave wide. The first bucket
// counts everything up to 2^-20 s, which is 0.95 µs, and the last everything above 861 s.
type Histogram struct {
	Count   uint64                   // of durations: the sum of Buckets
	Sum     time.Duration            // of all durations
	Buckets [HistogramBuckets]uint64 // the number of durations in each bucket; not cumulative
}

// bucketBounds has the longest duration of each bucket.
var bucketBounds = func() (bounds [HistogramBuckets]time.Duration) {
	for i := range bounds {
		bounds[i] = time.Duration(math.Exp2(float64(i+HistogramFirst)/4) * float64(time.Second))
	}
	bounds[HistogramBuckets-1] = math.MaxInt64
	return bounds
}()

// bucketOf returns the bucket of d. At most four buckets end between two powers of two nanoseconds,
// so the search from the first of them is short.
func bucketOf(d time.Duration) int {
	if d <= bucketBounds[0] {
		return 0
	}
	i := min(max(0, 4*bits.Len64(uint64(d))-43), HistogramBuckets-1)
	for bucketBounds[i] < d {
		i++
	}
	return i
}

// Bound returns the longest duration of bucket i, which is 0 to HistogramBuckets-1. The last bucket
// has no bound; for it, and for a higher i, Bound returns the longest time.Duration. Below 0, where
// no bucket is, Bound returns 0, so that bucket i counts durations from Bound(i-1) to Bound(i).
func (h *Histogram) Bound(i int) time.Duration {
	if i < 0 {
		return 0
	}
	return bucketBounds[min(i, HistogramBuckets-1)]
}

// Native returns an iterator over the buckets that are not empty: the native index of each bucket,
// as defined at HistogramSchema, and its count. The indexes rise.
func (h *Histogram) Native() iter.Seq2[int, uint64] {
	return func(yield func(int, uint64) bool) {
		for i, n := range h.Buckets {
			if n > 0 && !yield(i+HistogramFirst, n) {
				return
			}
		}
	}
}

// Quantile returns an estimate of the q-quantile of all durations; q is 0 to 1. The estimate lies
// in the same bucket as the exact value, so between 0.95 µs and 861 s it is wrong by 19 % at most.
// For longer durations it is 861 s. Quantile returns 0 if the Histogram is empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(1, uint64(math.Ceil(min(max(q, 0), 1)*float64(h.Count))))
	for i, n := range h.Buckets {
		if n < rank {
			rank -= n
			continue
		}
		var low time.Duration
		if i > 0 {
			low = bucketBounds[i-1]
		}
		if i == HistogramBuckets-1 {
			return low
		}
		return low + max(1, time.Duration(float64(bucketBounds[i]-low)*float64(rank)/float64(n)))
	}
	return 0
}

// Mean returns the mean of all durations, 0 if the Histogram is empty.
func (h *Histogram) Mean() time.Duration {
	if h.Count == 0 {
		return 0
	}
	return time.Duration(float64(h.Sum) / float64(h.Count))
}

// Sub subtracts an earlier state of the same Histogram, so that h has only the durations recorded
// since then.
func (h *Histogram) Sub(earlier *Histogram) {
	h.Count -= earlier.Count
	h.Sum -= earlier.Sum
	for i, n := range earlier.Buckets {
		h.Buckets[i] -= n
	}
}

// A histogram is a Histogram to which several goroutines may add durations at the same time.
type histogram struct {
	sum     atomic.Int64
	buckets [HistogramBuckets]atomic.Uint64
}

// record adds the duration d, n times. A duration below 0 counts as 0.
func (h *histogram) record(d time.Duration, n uint64) {
	d = max(0, d)
	h.buckets[bucketOf(d)].Add(n)
	h.sum.Add(int64(d) * int64(n))
}

// read copies the present values to to.
func (h *histogram) read(to *Histogram) {
	to.Count = 0
	for i := range h.buckets {
		n := h.buckets[i].Load()
		to.Buckets[i] = n
		to.Count += n
	}
	to.Sum = time.Duration(h.sum.Load())
}
