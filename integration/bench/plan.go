package main

import (
	"fmt"
	"slices"
)

// A trial is a scenario of the plan, with its contenders and targets.
type trial struct {
	scenario
	who     []string // the contenders; nil: all that support the scenario
	targets []target
	group   string // title of a table in which each trial has one row; empty: the trial has its own table
	label   string // the text of this row
	rounds  int    // the maximum number of rounds; 0: no limit
}

// A plan collects trials.
type plan struct {
	quick  bool
	trials []trial
}

// trials returns the trials of a full or a quick run.
func trials(quick bool) []trial {
	p := plan{quick: quick}
	p.messages(publish)
	p.oneGoroutine()
	p.add(trial{scenario: scenario{Kind: publish, QoS: 1, Payload: 64 << 10, Window: 100}})
	p.messages(receive)
	for _, k := range []kind{publish, receive} {
		for q := range byte(2) {
			p.add(trial{scenario: scenario{Kind: k, QoS: q, Payload: 64, Window: 100, Clients: 10}})
		}
	}
	for q := range byte(3) {
		p.add(trial{scenario: scenario{Kind: echo, QoS: q, Payload: 64, Window: 1}})
	}
	p.idle()
	p.durable()
	p.throughMosquitto()
	p.flatCosts()
	return p.trials
}

// add adds to the plan a trial of the scenario, with the targets of that scenario.
func (p *plan) add(t trial) {
	t.Clients, t.Filters = max(t.Clients, 1), max(t.Filters, 1)
	if t.Name == "" {
		t.Name = t.describe()
	}
	if p.quick && !asked(&t.scenario) {
		return
	}
	t.targets = targetsOf(&t.scenario)
	p.trials = append(p.trials, t)
}

// messages adds the scenarios that publish or receive with one client. At QoS 0 the window has no
// effect.
func (p *plan) messages(k kind) {
	for q := range byte(3) {
		windows := []int{1, 16, 100, 1000}
		if q == 0 {
			windows = windows[2:3]
		}
		for _, w := range windows {
			p.add(trial{scenario: scenario{Kind: k, QoS: q, Payload: 64, Window: w}})
		}
		p.add(trial{scenario: scenario{Kind: k, QoS: q, Payload: 1 << 10, Window: 100}})
	}
}

// oneGoroutine adds the trial in which one goroutine publishes with calls that return when the
// message is sent. A window of 1 stands for one goroutine, because at QoS 0 the window has no other
// effect.
func (p *plan) oneGoroutine() {
	s := scenario{Kind: publish, Payload: 64, Window: 1}
	s.Name = s.describe() + ", one goroutine"
	p.add(trial{scenario: s, who: append([]string{"Publish", "Publish 5"}, peers()...)})
}

// durable adds the trials with a session on disk. Millrace takes part with each of its stores,
// which sync; paho.mqtt.golang does not sync its files.
func (p *plan) durable() {
	who := slices.Concat(names(oursLogged), names(oursBolted), []string{pahoName})
	for _, w := range []int{1, 16, 256} {
		p.add(trial{scenario: scenario{Kind: durable, QoS: 1, Payload: 64, Window: w}, who: who})
	}
}

// idle adds the trial of idle clients. Millrace takes part once, because an idle client is the same
// however it is used.
func (p *plan) idle() {
	t := trial{scenario: scenario{Kind: idle, QoS: 1, Payload: 64, Window: 1, Clients: 5000}}
	t.who = append([]string{"Publishes"}, peers()...)
	if p.quick { // because each contender takes some seconds
		t.Clients, t.who, t.rounds = 1000, t.who[:2], 1
	}
	t.Messages = t.Clients
	p.add(t)
}

// throughMosquitto adds trials for the CPU cost of publishing to a real broker. Mosquitto reports
// its count only once a second, so there is no rate and no calibration.
func (p *plan) throughMosquitto() {
	t := trial{scenario: scenario{Kind: publish, Payload: 64, Window: 100, Messages: 200_000, Through: "mosquitto"}}
	if p.quick {
		t.Messages, t.rounds = 100_000, 1
	}
	p.add(t)
}

// flatCosts adds three tables. They show that the cost of a message in millrace does not grow with
// the number of filters, of publications in flight and of clients.
func (p *plan) flatCosts() {
	row := func(group, who, label string, s scenario) {
		s.Name = fmt.Sprintf("%s: %s", group, label)
		p.add(trial{scenario: s, group: group, label: label, who: []string{who}})
	}
	const many = 1_000_000 // so many that the cost of startup is negligible
	for _, n := range []int{1, 100, 10_000} {
		row("receive QoS 1, 64 B, window 100, by filters subscribed", "All", fmt.Sprint(n),
			scenario{Kind: receive, QoS: 1, Payload: 64, Window: 100, Filters: n})
	}
	for _, n := range []int{16, 1000, 60_000} { // each new message makes the broker acknowledge the oldest
		row("publish QoS 1, 64 B, by publications in flight", "PublishFrom", fmt.Sprint(n),
			scenario{Kind: publish, QoS: 1, Payload: 64, Window: n + 1000, Hold: n, Messages: many})
	}
	for _, n := range []int{1, 10, 1000} {
		row("publish QoS 1, 64 B, window 100, by clients in the process", "PublishFrom", fmt.Sprint(n),
			scenario{Kind: publish, QoS: 1, Payload: 64, Window: 100, Clients: n, Messages: max(many, 5_000*n)})
	}
}

// describe returns the name of a scenario. It consists of the fields that differ between scenarios.
func (s *scenario) describe() string {
	name := fmt.Sprintf("%v QoS %d, %s", s.Kind, s.QoS, size(s.Payload))
	if s.Kind == idle {
		name = "idle"
	}
	if s.QoS > 0 && s.Kind != echo && s.Kind != idle {
		name += fmt.Sprintf(", window %d", s.Window)
	}
	if s.Clients > 1 {
		name += fmt.Sprintf(", %d clients", s.Clients)
	}
	if s.Through != "" {
		name += " through " + s.Through
	}
	return name
}

func size(n int) string {
	if n >= 1024 && n%1024 == 0 {
		return fmt.Sprintf("%d KiB", n/1024)
	}
	return fmt.Sprintf("%d B", n)
}

// takesPart reports whether a contender takes part in the trial.
func (t *trial) takesPart(c *contender) bool {
	return t.who == nil || slices.Contains(t.who, c.name)
}
