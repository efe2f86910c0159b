package main

import (
	"errors"
	"fmt"
	"slices"
)

// A chart shows how many times as fast as paho.mqtt.golang the ways to use millrace, the best peer
// and the limit are.
type chart struct {
	groups []group
}

// A group holds the bars of one scenario.
type group struct {
	label string
	bars  []bar
}

// A bar shows one contender.
type bar struct {
	look  int     // index in looks
	peer  bool    // the contender is the best peer of the scenario
	times float64 // multiple of paho.mqtt.golang; 0 if the contender failed
}

// limitName is the name in the chart of the fastest of the limits.
const limitName = "the limit"

// newChart builds the chart from the results of its scenarios.
func newChart(results []result) (*chart, error) {
	var c chart
	for _, k := range []kind{publish, receive} {
		for q := range byte(3) {
			s := scenario{Kind: k, QoS: q, Payload: 64, Window: 100}
			g := group{label: fmt.Sprintf("%v QoS %d", k, q), bars: bars(results, s.describe())}
			if len(g.bars) > 0 {
				c.groups = append(c.groups, g)
			}
		}
	}
	if len(c.groups) == 0 {
		return nil, errors.New("no results for the chart: it compares clients with " + pahoName + ", publishing and receiving 64 B at window 100")
	}
	return &c, nil
}

// bars returns one bar for each way to use millrace in a scenario, one for the best peer and one
// for the limit.
func bars(results []result, scenario string) []bar {
	results = slices.DeleteFunc(slices.Clone(results), func(r result) bool { return r.Scenario != scenario })
	base := find(results, pahoName)
	if base == nil || len(base.Rounds) == 0 {
		return nil
	}
	peer := bestPeer(results, &rateColumn)
	var list []bar
	for i, look := range looks {
		b := bar{look: i, peer: peer.Contender == look.name}
		if isPeer(look.name) && !b.peer {
			continue
		}
		there := false
		for j := range results {
			r := &results[j]
			if r.Contender == look.name || look.name == limitName && isLimit(r.Contender) {
				of, _ := r.ratioTo(base, 1, rateColumn.of)
				b.times, there = max(b.times, of.times), true
			}
		}
		if there {
			list = append(list, b)
		}
	}
	return list
}

func isLimit(name string) bool {
	return slices.ContainsFunc(limits, func(c contender) bool { return c.name == name })
}
