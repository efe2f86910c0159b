package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// resultsOf returns one result for each of the given rates.
func resultsOf(rates map[string][]float64) []result {
	var list []result
	for _, c := range contenders() {
		var rounds []measurement
		for _, rate := range rates[c.name] {
			rounds = append(rounds, measurement{Messages: int(rate), Seconds: 1})
		}
		if rounds != nil {
			list = append(list, result{Contender: c.name, Rounds: rounds})
		}
	}
	return list
}

func TestAQuantileIsTheValueBelowWhichThatPartLies(t *testing.T) {
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(99-i))
	}
	for part, want := range map[float64]time.Duration{0: 0, 0.5: 50, 0.99: 99, 1: 99} {
		if got := quantile(all, part); got != want {
			t.Errorf("%v: %v, want %v", part, got, want)
		}
	}
}

func TestNumbersShowThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.00012: "0.0001", 0.0123: "0.012", 1: "1.00", 12.34: "12.3", 123.4: "123",
		1234: "1234", 12345: "12.3k", 2e6: "2M", 1.234e6: "1.23M",
	} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestATableHasMultiplesOfPaho(t *testing.T) {
	results := resultsOf(map[string][]float64{"All": {3000, 5000, 4000}, pahoName: {1000, 2000}})
	results = append(results, result{Contender: "clumsy", Failed: "it fell"})
	var out bytes.Buffer
	p := report{w: &out}
	p.take(&trial{scenario: scenario{Name: "a trial", Kind: receive, QoS: 1}, targets: []target{rateOf("All", 2), rateOf(worst, 3)}}, results)
	p.finish()
	for _, want := range []string{
		"a trial", "All", "4000 ×2.67?", "1500 ×1.00", "of the best peer", "best peer\n", "clumsy", "failed: it fell",
		"\n  target: All messages/s at least ×2.00 of paho.mqtt.golang: ×2.67, met\n",
		"\na trial: target: the worst of ours messages/s at least ×3.00 of paho.mqtt.golang: ×2.67 (All), NOT MET\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
	}
}

func TestAGroupHasOneTableWithMultiplesOfItsFirstRow(t *testing.T) {
	var out bytes.Buffer
	p := report{w: &out}
	for label, rate := range []float64{100, 200} {
		s := scenario{Name: "a row", Kind: publish, QoS: 1}
		p.take(&trial{scenario: s, group: "by size", label: strings.Repeat("x", label+1)}, resultsOf(map[string][]float64{"All": {rate}}))
	}
	if out.Len() > 0 {
		t.Errorf("the table was written before its last row: %s", &out)
	}
	p.finish()
	if got := out.String(); !strings.HasPrefix(got, "All, by size") || !strings.Contains(got, "200 ×2.00?") {
		t.Error(got)
	}
}

func TestATargetIsJudgedByWhomItNames(t *testing.T) {
	results := resultsOf(map[string][]float64{"Messages": {10}, "Deliveries": {20}, "All": {30}, pahoName: {10}, "limit, one goroutine": {90}})
	least := func(who string, limit float64) target { return rateOf(who, limit) }
	most := func(who string, limit float64) target {
		t := rateOf(who, limit)
		t.most = true
		return t
	}
	for _, test := range []struct {
		target target
		value  float64
		who    string
		met    bool
	}{
		{least("Deliveries", 2), 2, "Deliveries", true},
		{least("Deliveries", 2.1), 2, "Deliveries", false},
		{least(best, 3), 3, "All", true},
		{least(worst, 1.5), 1, "Messages", false},
		{most("All", 3), 3, "All", true},
		{most(best, 0.9), 1, "Messages", false},
		{most(worst, 3.5), 3, "All", true},
	} {
		j, ok := test.target.judge(results)
		if j.value != test.value || j.who != test.who || j.met != test.met || !ok {
			t.Errorf("%+v: %+v %v", test.target, j, ok)
		}
	}
	if _, ok := new(target).judge(results); ok {
		t.Error("a target without a contender has a verdict")
	}
	goal := least("PublishFrom", 2)
	if got := goal.verdict(results); !strings.HasSuffix(got, "not measured") {
		t.Error(got)
	}
}

func TestEveryTargetHasItsScenario(t *testing.T) {
	names := map[string]bool{}
	for _, quick := range []bool{true, false} {
		clear(names)
		for _, p := range trials(quick) {
			if names[p.Name] {
				t.Errorf("there are two scenarios %q", p.Name)
			}
			names[p.Name] = true
		}
		for name := range times {
			if !names[name] {
				t.Errorf("there is no scenario %q, quick: %v", name, quick)
			}
		}
	}
}
