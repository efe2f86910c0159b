package main

import (
	"fmt"
	"math"

	"golang.org/x/perf/benchmath"
)

const (
	confidence = 0.95 // of the interval around a median
	alpha      = 0.05 // a smaller p shows a difference

	roundsForInterval   = 6 // fewer rounds have no interval at this confidence
	roundsForDifference = 4 // of each; with fewer rounds even samples without overlap show no difference
)

// A figure summarizes one quantity over the rounds: its median and the interval around it. With too
// few rounds the interval has no end.
type figure struct{ Median, Low, High float64 }

// figure summarizes the values that the function of returns for the rounds.
func (r *result) figure(of func(*measurement) float64) figure {
	if len(r.Rounds) == 0 {
		return figure{}
	}
	s := benchmath.AssumeNothing.Summary(r.sample(of, 1), confidence)
	return figure{Median: s.Center, Low: s.Lo, High: s.Hi}
}

// known reports whether the rounds are enough for an interval.
func (f figure) known() bool { return !math.IsInf(f.Low, 0) && !math.IsInf(f.High, 0) }

// format returns the median and the interval, in the unit of a column.
func (f figure) format(scale float64) string {
	if !f.known() {
		return number(f.Median * scale)
	}
	return fmt.Sprintf("%s [%s %s]", number(f.Median*scale), number(f.Low*scale), number(f.High*scale))
}

// sample returns the values of the rounds, multiplied by scale.
func (r *result) sample(of func(*measurement) float64, scale float64) *benchmath.Sample {
	values := make([]float64, len(r.Rounds))
	for i := range r.Rounds {
		values[i] = of(&r.Rounds[i]) * scale
	}
	return benchmath.NewSample(values, &benchmath.Thresholds{CompareAlpha: alpha})
}

// A ratio is the median of one contender as a multiple of that of another, the base.
type ratio struct {
	times     float64
	different bool // the test shows a difference
	few       bool // the rounds are too few for the test
	self      bool // the contender is the base
}

// ratioTo compares r with a multiple of base, with the Mann-Whitney U test. The field times is a
// multiple of base itself. If there is nothing to compare, ok is false.
func (r *result) ratioTo(base *result, multiple float64, of func(*measurement) float64) (_ ratio, ok bool) {
	if base == nil || len(base.Rounds) == 0 || len(r.Rounds) == 0 {
		return ratio{}, false
	}
	b := base.figure(of).Median
	if b <= 0 {
		return ratio{}, false
	}
	c := benchmath.AssumeNothing.Compare(r.sample(of, 1), base.sample(of, multiple))
	different := c.P < c.Alpha
	return ratio{
		times:     r.figure(of).Median / b,
		different: different,
		few:       !different && min(len(r.Rounds), len(base.Rounds)) < roundsForDifference,
		self:      r == base,
	}, true
}

// String returns "~" if the test shows no difference, or else the multiple, with a question mark if
// the rounds are too few for the test.
func (r ratio) String() string {
	switch {
	case r.self || r.different:
		return "×" + number(r.times)
	case r.few:
		return "×" + number(r.times) + "?"
	}
	return "~"
}

// bestPeer returns the peer with the best median of a column, or nil if no peer has a result.
func bestPeer(results []result, c *column) *result {
	var found *result
	var value float64
	for i := range results {
		r := &results[i]
		if !isPeer(r.Contender) || len(r.Rounds) == 0 {
			continue
		}
		v := r.figure(c.of).Median
		if found == nil || v != value && (v < value) == c.less {
			found, value = r, v
		}
	}
	return found
}
