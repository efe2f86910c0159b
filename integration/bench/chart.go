package main

import (
	"errors"
	"fmt"
	"slices"
)

// A chart shows how many times as fast as paho.mqtt.golang each contender is.
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
	times float64 // multiple of paho.mqtt.golang; 0 if the contender failed
}

// limitName is the name in the chart of the faster of the two limits.
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

// bars returns one bar for each contender of a scenario.
func bars(results []result, scenario string) []bar {
	results = slices.DeleteFunc(slices.Clone(results), func(r result) bool { return r.Scenario != scenario })
	base := find(results, pahoName)
	if base == nil || len(base.Rounds) == 0 {
		return nil
	}
	var list []bar
	for i, look := range looks {
		b := bar{look: i}
		there := false
		for j := range results {
			r := &results[j]
			if r.Contender == look.name || look.name == limitName && isLimit(r.Contender) {
				times, _ := multiple(r, base, (*measurement).rate)
				b.times, there = max(b.times, times), true
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
