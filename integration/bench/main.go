package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
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
	json, chart   string
	cpuprofile    string
	trace         string
}

func parse() *settings {
	var c settings
	flag.BoolVar(&c.quick, "quick", false, "only the scenarios that have a target, fewer and shorter rounds")
	flag.IntVar(&c.rounds, "rounds", 0, "number of rounds; 0 is 5, with -quick 3")
	flag.DurationVar(&c.aim, "time", 0, "approximate `duration` of a run; 0 is 300 ms, three times that for a scenario with a target, with -quick 100 ms")
	flag.StringVar(&c.only, "only", "", "run only the scenarios whose name matches this expression")
	flag.StringVar(&c.clients, "clients", "", "run only the clients whose name matches this expression")
	flag.StringVar(&c.json, "json", "", "write all measurements to this `file`")
	flag.StringVar(&c.chart, "chart", "", "draw the chart to this `file`, in SVG")
	flag.StringVar(&c.cpuprofile, "cpuprofile", "", "write a CPU profile of each run to this `folder`")
	flag.StringVar(&c.trace, "trace", "", "write an execution trace of each run to this `folder`")
	flag.Parse()
	return &c
}

// start runs the selected scenarios and writes the tables to w.
func (c *settings) start(w io.Writer) error {
	only, err := regexp.Compile(c.only)
	if err != nil {
		return err
	}
	clients, err := regexp.Compile(c.clients)
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
	r := runner{rounds: 5, aim: 300 * time.Millisecond, longer: 3, profiles: c.cpuprofile, traces: c.trace, progress: progress()}
	if c.quick {
		r.rounds, r.aim, r.longer = 3, 100*time.Millisecond, 1
	}
	if c.rounds > 0 {
		r.rounds = c.rounds
	}
	if c.aim > 0 {
		r.aim, r.longer = c.aim, 1
	}
	load := newLoad()
	fmt.Fprintf(w, "%s %s/%s, %d CPUs\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	who := available(w, contenders(), clients)
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
	for _, k := range who {
		if k.end == nil {
			continue
		}
		if err := k.end(); err != nil {
			return err
		}
	}
	if others, ok := load.others(); ok {
		fmt.Fprintf(w, "\nOther processes used %.0f%% of the CPUs.\n", 100*others)
	}
	return c.write(report.results)
}

// write writes the files that the flags name.
func (c *settings) write(results []result) error {
	if c.chart != "" {
		if err := writeChart(c.chart, results); err != nil {
			return err
		}
	}
	if c.json == "" {
		return nil
	}
	text, err := json.MarshalIndent(results, "", "\t")
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
