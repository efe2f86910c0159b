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
	of       string  // the contender whose value limit multiplies; empty: limit is a value
	limit    float64 // required value in the unit of the column, or required multiple
	most     bool    // limit is a maximum, otherwise a minimum
}

const (
	best  = "the best of ours"
	worst = "the worst of ours"
)

// times maps scenarios to their targets that are multiples of the value of another contender: of
// paho.mqtt.golang, unless the target names one.
var times = map[string][]target{
	"publish QoS 0, 64 B":                {rateOf("PublishBatches", 130), rateOf("PublishFrom", 51), rateOf("Publishes", 21)},
	"publish QoS 0, 64 B, one goroutine": {rateOf("Publish", 1).against(atWat.name)},
	"publish QoS 1, 64 B, window 1":      {rateOf(best, 1.15)},
	"publish QoS 1, 64 B, window 100":    {rateOf("PublishFrom", 18), rateOf("Publishes", 10)},
	"publish QoS 1, 64 B, window 1000":   {rateOf("PublishFrom", 35)},
	"publish QoS 2, 64 B, window 100":    {rateOf("PublishFrom", 15)},
	"receive QoS 0, 64 B":                {rateOf("AllBatches", 65), rateOf("All", 25), rateOf("Deliveries", 20), rateOf("Messages", 12)},
	"receive QoS 1, 64 B, window 100":    {rateOf("AllBatches", 1.3).against("All"), rateOf("All", 18), rateOf("Deliveries", 15), rateOf("Messages", 9)},
	"receive QoS 2, 64 B, window 100":    {rateOf("AllBatches", 1.05).against("All"), rateOf("All", 20), rateOf("Deliveries", 18), rateOf("Messages", 11)},
	"receive QoS 0, 1 KiB":               {rateOf("AllBatches", 22), rateOf("All", 12)},
	"echo QoS 0, 64 B":                   {latencyOf(best, 1).against(atWat.name)},
	"echo QoS 1, 64 B":                   {latencyOf(best, 1).against(atWat.name)},
	"echo QoS 2, 64 B":                   {latencyOf(best, 0.65)},
	"durable QoS 1, 64 B, window 1":      {rateOf(best, 1)},
	"durable QoS 1, 64 B, window 16":     {rateOf(best, 6)},
	"durable QoS 1, 64 B, window 256":    {rateOf(best, 100)},
}

func rateOf(who string, least float64) target {
	return target{who: who, quantity: rateColumn, of: pahoName, limit: least}
}

func latencyOf(who string, most float64) target {
	return target{who: who, quantity: p50Column, of: pahoName, limit: most, most: true}
}

// against returns the target as a multiple of the value of another contender.
func (t target) against(name string) target {
	t.of = name
	return t
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
		most(best, memoryColumn, 10)
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

// A judgment is the value that a contender reached for a target.
type judgment struct {
	value float64
	who   string
	met   bool
	even  bool // the test shows no difference between the value and the limit
}

// judge returns the judgment of the results. If a result is missing, ok is false.
func (t *target) judge(results []result) (j judgment, ok bool) {
	base := find(results, t.of)
	for i := range results {
		r := &results[i]
		if !isOurs(r.Contender) || t.who != best && t.who != worst && t.who != r.Contender || len(r.Rounds) == 0 {
			continue
		}
		now := judgment{value: r.figure(t.quantity.of).Median * t.quantity.scale, who: r.Contender}
		if t.of != "" {
			of, has := r.ratioTo(base, t.limit, t.quantity.of)
			if !has {
				continue
			}
			now.value, now.even = of.times, !of.different && !of.few
		}
		better := cmp.Less(now.value, j.value) == t.most
		if !ok || better == (t.who != worst) {
			j, ok = now, true
		}
	}
	j.met = (j.value <= t.limit) == t.most || j.value == t.limit
	return j, ok
}

// verdict returns a line with the target and the measured value.
func (t *target) verdict(results []result) string {
	bound, sign, of := "at least", "", ""
	if t.most {
		bound = "at most"
	}
	if t.of != "" {
		sign, of = "×", " of "+t.of
	}
	text := fmt.Sprintf("target: %s %s %s %s%s%s: ", t.who, t.quantity.title, bound, sign, number(t.limit), of)
	j, ok := t.judge(results)
	if !ok {
		return text + "not measured"
	}
	text += sign + number(j.value)
	if j.who != t.who {
		text += " (" + j.who + ")"
	}
	if j.even {
		text += ", ~ the limit"
	}
	if j.met {
		return text + ", met"
	}
	return text + ", " + strings.ToUpper("not met")
}
