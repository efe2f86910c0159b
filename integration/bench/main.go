package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	beChild(contenders())
	if err := parse().start(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// start runs the selected scenarios and writes the tables to w, between the conditions at the
// beginning and at the end.
func (c *settings) start(w io.Writer) error {
	plan, selected, err := c.selection()
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
	who := available(w, selected)
	around := conditions(who, r.rounds, time.Now())
	writeConditions(w, around)
	fmt.Fprintln(w)
	report := report{w: w}
	for _, t := range plan {
		if t.Through != "" && mosquittoPath() == "" {
			fmt.Fprintf(w, "%s is skipped: mosquitto is not installed\n\n", t.Name)
			continue
		}
		report.take(&t, r.trial(&t, who))
	}
	report.finish()
	after := conditionsAfter(load)
	fmt.Fprintln(w)
	writeConditions(w, after)
	if err := end(who); err != nil {
		return err
	}
	if len(report.results) == 0 {
		return errors.New("nothing was measured: no client that can run here takes part in a scenario of the flags")
	}
	return c.write(record{append(around, after...), report.results})
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

// available returns the contenders that can run. It writes to w why it skips the others.
func available(w io.Writer, all []contender) []contender {
	var list []contender
	for _, k := range all {
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
