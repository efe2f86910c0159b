package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A target is a required figure of millrace in one scenario.
type target struct {
	who      string // a contender of millrace, or "best" or "worst"
	quantity column
	multiple bool    // limit is a multiple of the value of paho.mqtt.golang
	limit    float64 // required value in the unit of the column, or required multiple
	most     bool    // limit is a maximum, otherwise a minimum
}

const (
	best  = "the best of ours"
	worst = "the worst of ours"
)

// times maps scenarios to their targets that are multiples of the value of paho.mqtt.golang.
var times = map[string][]target{
	"publish QoS 0, 64 B":              {rateOf("PublishFrom", 60), rateOf("Publishes", 25)},
	"publish QoS 1, 64 B, window 1":    {rateOf(best, 1.15)},
	"publish QoS 1, 64 B, window 100":  {rateOf("PublishFrom", 18), rateOf("Publishes", 10)},
	"publish QoS 1, 64 B, window 1000": {rateOf("PublishFrom", 35)},
	"publish QoS 2, 64 B, window 100":  {rateOf("PublishFrom", 15)},
	"receive QoS 0, 64 B":              {rateOf("All", 25), rateOf("Deliveries", 20), rateOf("Messages", 12)},
	"receive QoS 1, 64 B, window 100":  {rateOf("All", 18), rateOf("Deliveries", 15), rateOf("Messages", 9)},
	"receive QoS 2, 64 B, window 100":  {rateOf("All", 20), rateOf("Deliveries", 18), rateOf("Messages", 11)},
	"receive QoS 0, 1 KiB":             {rateOf("All", 12)},
	"echo QoS 0, 64 B":                 {latencyOf(best, 0.7)},
	"echo QoS 1, 64 B":                 {latencyOf(best, 0.8)},
	"echo QoS 2, 64 B":                 {latencyOf(best, 0.75)},
}

func rateOf(who string, least float64) target {
	return target{who: who, quantity: rateColumn, multiple: true, limit: least}
}

func latencyOf(who string, most float64) target {
	return target{who: who, quantity: p50Column, multiple: true, limit: most, most: true}
}

// asked reports whether a quick run includes the scenario. A quick run has the scenarios with
// targets of their own, and one scenario at window 1000.
func asked(s *scenario) bool {
	return len(times[s.Name]) > 0 || s.Kind == idle || s.Through != "" || s.Name == "receive QoS 1, 64 B, window 1000"
}

// targetsOf returns the targets of a scenario.
func targetsOf(s *scenario) []target {
	list := slices.Clone(times[s.Name])
	most := func(who string, c column, limit float64) {
		list = append(list, target{who: who, quantity: c, limit: limit, most: true})
	}
	alone := s.Clients == 1 && s.Filters == 1 && s.Hold == 0 && s.Through == "" && s.Payload == 64
	switch {
	case s.Kind == idle:
		most(best, memoryColumn, 14)
	case s.Kind == publish && s.Through == "mosquitto":
		most(best, cpuColumn, 0.3)
	case s.Kind == publish && alone:
		most(worst, allocsColumn, 0.1)
	case s.Kind == receive && alone:
		most(worst, allocsColumn, 0.2)
	}
	if (s.Kind == publish || s.Kind == receive) && alone && s.Window == 1000 {
		most(worst, syscallsColumn, 0.05)
	}
	return list
}

// judge returns the measured value, the contender that reached it, and whether the value meets the
// target. If there is no result, ok is false.
func (t *target) judge(results []result) (value float64, who string, met, ok bool) {
	base := find(results, pahoName)
	for i := range results {
		r := &results[i]
		if !isOurs(r.Contender) || t.who != best && t.who != worst && t.who != r.Contender || len(r.Rounds) == 0 {
			continue
		}
		v := r.figure(t.quantity.of).Median * t.quantity.scale
		if t.multiple {
			var has bool
			if v, has = multiple(r, base, t.quantity.of); !has {
				continue
			}
		}
		better := cmp.Less(v, value) == t.most
		if !ok || better == (t.who != worst) {
			value, who, ok = v, r.Contender, true
		}
	}
	return value, who, (value <= t.limit) == t.most || value == t.limit, ok
}

// verdict returns a line with the target and the measured value.
func (t *target) verdict(results []result) string {
	bound, sign := "at least", ""
	if t.most {
		bound = "at most"
	}
	if t.multiple {
		sign = "×"
	}
	text := fmt.Sprintf("target: %s %s %s %s%s: ", t.who, t.quantity.title, bound, sign, number(t.limit))
	value, who, met, ok := t.judge(results)
	if !ok {
		return text + "not measured"
	}
	text += sign + number(value)
	if who != t.who {
		text += " (" + who + ")"
	}
	if met {
		return text + ", met"
	}
	return text + ", " + strings.ToUpper("not met")
}
