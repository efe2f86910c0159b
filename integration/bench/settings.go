package main

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// settings are the flags of the program.
type settings struct {
	quick         bool
	rounds        int
	aim           time.Duration
	only, clients string
	peers         string
	json, chart   string
	cpuprofile    string
	trace         string
}

func parse() *settings {
	var c settings
	flag.BoolVar(&c.quick, "quick", false, "only the scenarios that have a target, fewer and shorter rounds")
	flag.IntVar(&c.rounds, "rounds", 0, "number of rounds; 0 is 10, with -quick 3")
	flag.DurationVar(&c.aim, "time", 0, "approximate `duration` of a run; 0 is 300 ms, three times that for a scenario with a target, with -quick 100 ms")
	flag.StringVar(&c.only, "only", "", "run only the scenarios whose name matches this expression")
	flag.StringVar(&c.clients, "clients", "", "run only the clients whose name matches this expression")
	flag.StringVar(&c.peers, "peers", "", "run beside millrace only the peers in this `list`, such as paho.mqtt.golang,libmosquitto, or none; empty: all")
	flag.StringVar(&c.json, "json", "", "write the conditions and all measurements to this `file`")
	flag.StringVar(&c.chart, "chart", "", "draw the chart to this `file`, in SVG")
	flag.StringVar(&c.cpuprofile, "cpuprofile", "", "write a CPU profile of each run to this `folder`")
	flag.StringVar(&c.trace, "trace", "", "write an execution trace of each run to this `folder`")
	flag.Parse()
	return &c
}

// runner returns the runner that the flags describe.
func (c *settings) runner() runner {
	r := runner{rounds: 10, aim: 300 * time.Millisecond, longer: 3, profiles: c.cpuprofile, traces: c.trace, progress: progress()}
	if c.quick {
		r.rounds, r.aim, r.longer = 3, 100*time.Millisecond, 1
	}
	if c.rounds > 0 {
		r.rounds = c.rounds
	}
	if c.aim > 0 {
		r.aim, r.longer = c.aim, 1
	}
	return r
}

// minAim is the minimum of the flag -time.
const minAim = time.Millisecond

// selection returns the scenarios and the contenders that the flags select. Its error names a flag
// that is below its minimum, or that matches no name, and then lists the names.
func (c *settings) selection() (plan []trial, who []contender, err error) {
	switch {
	case c.rounds < 0:
		return nil, nil, fmt.Errorf("-rounds %d is below 1; 0 is the default", c.rounds)
	case c.aim != 0 && c.aim < minAim:
		return nil, nil, fmt.Errorf("-time %v is below %v; 0 is the default", c.aim, minAim)
	}
	if who, err = withPeers(contenders(), c.peers); err != nil {
		return nil, nil, err
	}
	if who, err = matching("-clients", c.clients, who, func(k contender) string { return k.name }); err != nil {
		return nil, nil, err
	}
	plan, err = matching("-only", c.only, trials(c.quick), func(t trial) string { return t.Name })
	return plan, who, err
}

// matching returns the values of all whose name matches the regular expression of a flag. There
// must be one.
func matching[T any](flag, expression string, all []T, name func(T) string) (list []T, err error) {
	wanted, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	var names []string
	for _, v := range all {
		if wanted.MatchString(name(v)) {
			list = append(list, v)
		}
		if !slices.Contains(names, name(v)) {
			names = append(names, name(v))
		}
	}
	if list == nil {
		return nil, fmt.Errorf("%s: %q matches none of these names:\n\t%s", flag, expression, strings.Join(names, "\n\t"))
	}
	return list, nil
}
