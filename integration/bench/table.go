package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// A column is one quantity of a table.
type column struct {
	title string
	of    func(*measurement) float64
	scale float64 // what is shown is as much times the value
}

var (
	rates = []column{
		{"messages/s", (*measurement).rate, 1},
		{"CPU s/million", (*measurement).cpuPerMillion, 1},
		{"allocs/msg", (*measurement).allocs, 1},
		{"bytes/msg", (*measurement).allocBytes, 1},
		{"syscalls/msg", (*measurement).syscalls, 1},
		{"wake-ups/msg", (*measurement).wakeups, 1},
	}
	latencies = []column{
		{"p50 µs", (*measurement).p50, 1e6},
		{"p99 µs", (*measurement).p99, 1e6},
		{"CPU s/million", (*measurement).cpuPerMillion, 1},
		{"allocs/msg", (*measurement).allocs, 1},
		{"bytes/msg", (*measurement).allocBytes, 1},
		{"syscalls/msg", (*measurement).syscalls, 1},
		{"wake-ups/msg", (*measurement).wakeups, 1},
	}
	footprint = []column{
		{"KiB/client", (*measurement).memory, 1.0 / 1024},
		{"goroutines/client", (*measurement).goroutines, 1},
	}
)

func columns(k kind) []column {
	switch k {
	case echo:
		return latencies
	case idle:
		return footprint
	}
	return rates
}

// writeTable shows the results of one scenario: medians, the least and the most, and
// the median as multiple of paho's.
func writeTable(w io.Writer, s *scenario, results []result) {
	fmt.Fprintf(w, "%s\n", s.Name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	cols := columns(s.Kind)
	for _, c := range cols {
		fmt.Fprintf(t, "\t%s", c.title)
	}
	fmt.Fprintln(t)
	base := find(results, pahoName)
	for i := range results {
		r := &results[i]
		if r.Failed != "" {
			fmt.Fprintf(t, "  %s\tfailed: %s\n", r.Contender, r.Failed)
			continue
		}
		fmt.Fprintf(t, "  %s", r.Contender)
		for _, c := range cols {
			f := r.figure(c.of)
			fmt.Fprintf(t, "\t%s [%s %s]", number(f.Median*c.scale), number(f.Min*c.scale), number(f.Max*c.scale))
			if m, ok := multiple(r, base, c.of); ok {
				fmt.Fprintf(t, " ×%s", number(m))
			}
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}

func find(results []result, contender string) *result {
	for i := range results {
		if results[i].Contender == contender {
			return &results[i]
		}
	}
	return nil
}

// multiple returns the median of r as multiple of that of base.
func multiple(r, base *result, of func(*measurement) float64) (float64, bool) {
	if base == nil || len(base.Rounds) == 0 || len(r.Rounds) == 0 {
		return 0, false
	}
	b := base.figure(of).Median
	return r.figure(of).Median / b, b > 0
}

// number shows three digits that count, or all of those before the point.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e6:
		return strings.Replace(fmt.Sprintf("%.2fM", v/1e6), ".00M", "M", 1)
	case a >= 1e4:
		return fmt.Sprintf("%.1fk", v/1e3)
	case a >= 100 || a == 0:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	case a >= 0.001:
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.1g", v)
}
