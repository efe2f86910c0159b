package main

import (
	"math"
	"slices"
	"testing"
)

// latencies returns the result of a contender whose rounds have these latencies.
func latencies(contender string, values ...float64) *result {
	r := result{Contender: contender}
	for _, v := range values {
		r.Rounds = append(r.Rounds, measurement{P50: v})
	}
	return &r
}

func TestAFigureIsTheMedianWithItsInterval(t *testing.T) {
	inf := math.Inf(1)
	for _, test := range []struct {
		values []float64
		want   figure
		text   string
	}{
		{nil, figure{}, "0 [0 0]"},
		{[]float64{8}, figure{8, -inf, inf}, "8.00"},
		{[]float64{8, 1, 4, 2}, figure{3, -inf, inf}, "3.00"},
		{[]float64{8, 1, 4, 2, 5}, figure{4, -inf, 8}, "4.00"},
		{[]float64{8, 1, 4, 2, 5, 7}, figure{4.5, 1, 8}, "4.50 [1.00 8.00]"},
		// From the second to the ninth of ten rounds: with one round less at each end, the true
		// median would lie outside in more than one of twenty cases.
		{[]float64{10, 1, 9, 2, 8, 3, 7, 4, 6, 5}, figure{5.5, 2, 9}, "5.50 [2.00 9.00]"},
	} {
		f := latencies("All", test.values...).figure((*measurement).p50)
		if f != test.want || f.format(1) != test.text {
			t.Errorf("%v: %v, %q, want %v, %q", test.values, f, f.format(1), test.want, test.text)
		}
		if n := len(test.values); n > 0 && f.known() != (n >= roundsForInterval) {
			t.Errorf("%d rounds have an interval: %v", n, f.known())
		}
	}
}

func TestARatioIsShownIfTheTestFindsADifference(t *testing.T) {
	base := latencies(pahoName, 10, 11, 12, 13, 14, 15)
	for _, test := range []struct {
		values []float64
		want   string
	}{
		{[]float64{24, 25, 26, 24, 25, 25}, "×2.00"},
		{[]float64{10, 11.5, 12.6, 12.5, 14, 16}, "~"},
		{[]float64{12, 12, 12, 12, 12, 12}, "~"},
		{[]float64{25, 25}, "×2.00?"}, // two rounds that do not differ by the test
		{[]float64{12.5, 12.5}, "×1.00?"},
		{[]float64{24, 25, 26, 25}, "×2.00"}, // four rounds without overlap
	} {
		of, ok := latencies("All", test.values...).ratioTo(base, 1, (*measurement).p50)
		if !ok || of.String() != test.want {
			t.Errorf("%v: %v, %v, want %s", test.values, of, ok, test.want)
		}
	}
	if of, ok := base.ratioTo(base, 1, (*measurement).p50); !ok || of.String() != "×1.00" {
		t.Errorf("the base itself: %v, %v", of, ok)
	}
	for _, without := range []*result{nil, latencies(pahoName), latencies(pahoName, 0, 0)} {
		if of, ok := base.ratioTo(without, 1, (*measurement).p50); ok {
			t.Errorf("compared with %+v: %v", without, of)
		}
	}
}

func TestAPairOfFourRoundsIsTheLeastThatCanDiffer(t *testing.T) {
	for n := 1; n < 8; n++ {
		low, high := latencies("All"), latencies(pahoName)
		for i := range n {
			low.Rounds = append(low.Rounds, measurement{P50: 1 + float64(i)})
			high.Rounds = append(high.Rounds, measurement{P50: 100 + float64(i)})
		}
		of, ok := low.ratioTo(high, 1, (*measurement).p50)
		if !ok || of.different != (n >= roundsForDifference) || of.few == of.different {
			t.Errorf("%d rounds: %+v", n, of)
		}
	}
}

func TestAVerdictTellsWhenTheTestShowsNoDifferenceFromTheLimit(t *testing.T) {
	results := []result{
		*latencies("All", 19, 20, 21, 22, 23, 24),
		*latencies(pahoName, 10, 10.4, 10.6, 10.8, 11, 12),
	}
	for limit, want := range map[float64]string{
		1: "×2.01 (All), NOT MET",
		2: "×2.01 (All), ~ the limit, NOT MET",
		3: "×2.01 (All), met",
	} {
		goal := latencyOf(best, limit)
		if got := goal.verdict(results); got != "target: the best of ours p50 µs at most ×"+number(limit)+" of paho.mqtt.golang: "+want {
			t.Error(got)
		}
	}
	goal := latencyOf("All", 1).against(atWat.name)
	if got := goal.verdict(results); got != "target: All p50 µs at most ×1.00 of at-wat/mqtt-go: not measured" {
		t.Error(got)
	}
}

func TestTheBestPeerIsThatWithTheBestMedian(t *testing.T) {
	results := []result{
		*latencies("All", 1), *latencies(pahoName, 7, 9), *latencies(atWat.name, 6, 9), *latencies(limits[0].name, 1),
		{Contender: libmosquitto.name, Failed: "it fell"},
	}
	if got := bestPeer(results, &p50Column); got != &results[2] {
		t.Errorf("the shortest time: %+v", got)
	}
	more := p50Column
	more.less = false
	if got := bestPeer(results, &more); got != &results[1] {
		t.Errorf("the longest time: %+v", got)
	}
	if got := bestPeer(results[3:], &p50Column); got != nil {
		t.Errorf("without a peer: %+v", got)
	}
}

func TestTheFlagPeersLeavesOutPeersOnly(t *testing.T) {
	for flag, want := range map[string][]string{
		"":                           peers(),
		"none":                       nil,
		atWat.name + ", " + pahoName: {pahoName, atWat.name},
		"at-wat":                     {atWat.name},
	} {
		list, err := withPeers(contenders(), flag)
		if err != nil {
			t.Errorf("%s: %v", flag, err)
		}
		var got []string
		for _, name := range names(list) {
			if isPeer(name) {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, want) || len(list)-len(got) != len(contenders())-len(peers()) {
			t.Errorf("%s: the peers %v of %d contenders", flag, got, len(list))
		}
	}
	for _, flag := range []string{"paho", ",", "none," + pahoName} {
		if _, err := withPeers(contenders(), flag); err == nil {
			t.Errorf("%q is no error", flag)
		}
	}
}
