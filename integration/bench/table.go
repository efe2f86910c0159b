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
	scale float64 // the table shows the value multiplied by scale
}

var (
	rateColumn     = column{"messages/s", (*measurement).rate, 1}
	cpuColumn      = column{"CPU s/million", (*measurement).cpuPerMillion, 1}
	allocsColumn   = column{"allocs/msg", (*measurement).allocs, 1}
	bytesColumn    = column{"bytes/msg", (*measurement).allocBytes, 1}
	syscallsColumn = column{"syscalls/msg", (*measurement).syscalls, 1}
	wakeupsColumn  = column{"wake-ups/msg", (*measurement).wakeups, 1}
	sentColumn     = column{"sent/msg", (*measurement).sent, 1}
	p50Column      = column{"p50 µs", (*measurement).p50, 1e6}
	p99Column      = column{"p99 µs", (*measurement).p99, 1e6}
	memoryColumn   = column{"KiB/client", (*measurement).memory, 1.0 / 1024}
	routinesColumn = column{"goroutines/client", (*measurement).goroutines, 1}

	costs = []column{cpuColumn, allocsColumn, bytesColumn, syscallsColumn, wakeupsColumn}
)

// columns returns the columns for a scenario.
func columns(s *scenario) []column {
	switch {
	case s.Kind == idle:
		return []column{memoryColumn, routinesColumn}
	case s.Kind == echo:
		return append([]column{p50Column, p99Column}, costs...)
	case s.Through != "":
		return costs
	case s.Kind == receive && s.QoS == 0:
		return append([]column{rateColumn, sentColumn}, costs...)
	}
	return append([]column{rateColumn}, costs...)
}

// A row is one line of a table.
type row struct {
	label  string
	result *result
}

// writeTable writes the median, minimum and maximum of each column, and the median as a multiple of
// the median of base.
func writeTable(w io.Writer, title string, cols []column, rows []row, base *result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, title)
	for _, c := range cols {
		fmt.Fprintf(t, "\t%s", c.title)
	}
	fmt.Fprintln(t)
	for _, row := range rows {
		fmt.Fprintf(t, "  %s", row.label)
		if len(row.result.Rounds) == 0 {
			fmt.Fprintf(t, "\tfailed: %s\n", row.result.Failed)
			continue
		}
		for _, c := range cols {
			f := row.result.figure(c.of)
			if f.Max == 0 && (c.title == allocsColumn.title || c.title == bytesColumn.title) {
				fmt.Fprint(t, "\t-") // this contender is not a Go program
				continue
			}
			fmt.Fprintf(t, "\t%s [%s %s]", number(f.Median*c.scale), number(f.Min*c.scale), number(f.Max*c.scale))
			if m, ok := multiple(row.result, base, c.of); ok {
				fmt.Fprintf(t, " ×%s", number(m))
			}
		}
		if row.result.Failed != "" {
			fmt.Fprintf(t, "\tthen failed: %s", row.result.Failed)
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

// multiple returns the median of r divided by the median of base.
func multiple(r, base *result, of func(*measurement) float64) (float64, bool) {
	if base == nil || len(base.Rounds) == 0 || len(r.Rounds) == 0 {
		return 0, false
	}
	b := base.figure(of).Median
	return r.figure(of).Median / b, b > 0
}

// number formats v with three significant digits, but always with all digits before the decimal
// point.
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
