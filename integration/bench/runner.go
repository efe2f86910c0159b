package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A runner runs scenarios. In each round of a scenario the contenders take turns.
type runner struct {
	rounds   int
	aim      time.Duration // the intended duration of one run
	longer   int           // aim is multiplied by it in scenarios with a target for rate or latency; 0 means 1
	profiles string        // folder for CPU profiles; empty: none
	traces   string        // folder for execution traces; empty: none
	progress io.Writer
}

// An entry is a contender in a scenario, with the number of messages that it can handle in the
// intended time.
type entry struct {
	contender *contender
	scenario  scenario
	result    result
}

// trial runs one scenario and returns a result for each contender that supports it.
func (r *runner) trial(t *trial, all []contender) []result {
	var entries []*entry
	for i := range all {
		if !t.takesPart(&all[i]) {
			continue
		}
		e := &entry{contender: &all[i], scenario: t.scenario, result: result{Scenario: t.Name, Contender: all[i].name}}
		err := r.calibrate(e)
		if errors.Is(err, errUnsupported) {
			continue
		}
		e.failed(err)
		entries = append(entries, e)
	}
	rounds := r.rounds
	if t.rounds > 0 {
		rounds = min(rounds, t.rounds)
	}
	for round := range rounds {
		entries = slices.DeleteFunc(entries, func(e *entry) bool { return errors.Is(r.round(e, round+1), errUnsupported) })
	}
	var results []result
	for _, e := range entries {
		results = append(results, e.result)
	}
	return results
}

// round runs an entry once, unless it has failed before.
func (r *runner) round(e *entry, n int) error {
	if e.result.Failed != "" {
		return nil
	}
	m, err := r.run(e, n)
	if e.failed(err); err == nil {
		e.result.Rounds = append(e.result.Rounds, m)
	}
	return err
}

func (e *entry) failed(err error) {
	if err != nil {
		e.result.Failed = err.Error()
	}
}

// calibrate finds the number of messages of an entry, unless its scenario sets it.
func (r *runner) calibrate(e *entry) error {
	if e.scenario.Messages > 0 {
		return nil
	}
	aim := r.aim
	if len(times[e.scenario.Name]) > 0 {
		aim *= time.Duration(max(1, r.longer)) // reduces the weight of the start: over a second the fastest contenders are a quarter faster
	}
	if e.scenario.Kind == receive && e.scenario.Clients > 1 {
		aim *= 4 // the run must be longer because the socket buffers of all clients fill first
	}
	// The run must be long enough for the window to slide many times and for the first allocations
	// to have little weight.
	least := max(20*e.scenario.Window, 3000) * e.scenario.Clients
	if e.scenario.Payload > 1<<10 || e.scenario.Kind == echo || e.scenario.Kind == durable {
		least = 20 * e.scenario.Window * e.scenario.Clients
	}
	for n := 500 * e.scenario.Clients; ; {
		e.scenario.Messages = max(n, least)
		m, err := r.run(e, 0)
		if err != nil {
			return err
		}
		n = int(m.rate() * aim.Seconds())
		if m.Seconds >= aim.Seconds()/3 { // a shorter run measures only the start
			e.scenario.Messages = max(n, least)
			return nil
		}
		n = min(n, 16*e.scenario.Messages)
		n = max(n, 2*e.scenario.Messages)
	}
}

// run executes one run; round 0 is the calibration.
func (r *runner) run(e *entry, round int) (measurement, error) {
	run := run{assignment: assignment{Contender: e.contender.name, Scenario: e.scenario}, contender: e.contender}
	if round > 0 {
		name := plain(fmt.Sprintf("%s, %s, %d", e.scenario.Name, e.contender.name, round))
		if r.profiles != "" {
			run.Profile = filepath.Join(r.profiles, name+".pprof")
		}
		if r.traces != "" {
			run.Trace = filepath.Join(r.traces, name+".trace")
		}
	}
	const erase = "\r\x1b[K"
	fmt.Fprintf(r.progress, "%s%s: %s, round %d", erase, e.scenario.Name, e.contender.name, round)
	defer fmt.Fprint(r.progress, erase)
	return run.execute()
}

// plain turns a title into a file name.
func plain(title string) string {
	return strings.NewReplacer(", ", "_", " ", "-", "/", "-").Replace(title)
}
