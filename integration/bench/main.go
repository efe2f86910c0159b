package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"
)

func main() {
	beChild(contenders())
	if err := parse().start(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

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

// start runs the selected scenarios and writes the tables to w, between the conditions at the
// beginning and at the end.
func (c *settings) start(w io.Writer) error {
	only, err := regexp.Compile(c.only)
	if err != nil {
		return err
	}
	clients, err := regexp.Compile(c.clients)
	if err != nil {
		return err
	}
	selected, err := withPeers(contenders(), c.peers)
	if err != nil {
		return err
	}
	for _, dir := range []string{c.cpuprofile, c.trace} {
		if dir != "" {
			if err := os.MkdirAll(dir, 0o777); err != nil {
				return err
			}
		}
	}
	r, load := c.runner(), newLoad()
	who := available(w, selected, clients)
	around := conditions(who, r.rounds, time.Now())
	writeConditions(w, around)
	fmt.Fprintln(w)
	report := report{w: w}
	for _, t := range trials(c.quick) {
		switch {
		case !only.MatchString(t.Name):
		case t.Through != "" && mosquittoPath() == "":
			fmt.Fprintf(w, "%s is skipped: mosquitto is not installed\n\n", t.Name)
		default:
			report.take(&t, r.trial(&t, who))
		}
	}
	report.finish()
	after := conditionsAfter(load)
	fmt.Fprintln(w)
	writeConditions(w, after)
	if err := end(who); err != nil {
		return err
	}
	return c.write(record{append(around, after...), report.results})
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

// end removes the files of the contenders.
func end(who []contender) error {
	for _, k := range who {
		if k.end == nil {
			continue
		}
		if err := k.end(); err != nil {
			return err
		}
	}
	return nil
}

// A record is the content of the file that the flag -json names.
type record struct {
	Conditions []condition
	Results    []result
}

// write writes the files that the flags name.
func (c *settings) write(all record) error {
	if c.chart != "" {
		if err := writeChart(c.chart, all.Results); err != nil {
			return err
		}
	}
	if c.json == "" {
		return nil
	}
	text, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(c.json, append(text, '\n'), 0o666)
}

// available returns the contenders that match the regular expression clients and can run. It writes
// to w why it skips the others.
func available(w io.Writer, all []contender, clients *regexp.Regexp) []contender {
	var list []contender
	for _, k := range all {
		if !clients.MatchString(k.name) {
			continue
		}
		if k.command != nil {
			if _, err := k.command(&scenario{URL: "tcp://127.0.0.1:1883"}); err != nil {
				fmt.Fprintf(w, "%s is skipped: %v\n\n", k.name, err)
				continue
			}
		}
		list = append(list, k)
	}
	return list
}

// progress returns the writer for the names of the runs. It is stderr if that is a terminal.
func progress() io.Writer {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return os.Stderr
	}
	return io.Discard
}
