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
	less  bool    // a smaller value is better
}

var (
	rateColumn     = column{"messages/s", (*measurement).rate, 1, false}
	cpuColumn      = column{"CPU s/million", (*measurement).cpuPerMillion, 1, true}
	allocsColumn   = column{"allocs/msg", (*measurement).allocs, 1, true}
	bytesColumn    = column{"bytes/msg", (*measurement).allocBytes, 1, true}
	syscallsColumn = column{"syscalls/msg", (*measurement).syscalls, 1, true}
	wakeupsColumn  = column{"wake-ups/msg", (*measurement).wakeups, 1, true}
	sentColumn     = column{"sent/msg", (*measurement).sent, 1, true}
	p50Column      = column{"p50 µs", (*measurement).p50, 1e6, true}
	p99Column      = column{"p99 µs", (*measurement).p99, 1e6, true}
	memoryColumn   = column{"KiB/client", (*measurement).memory, 1.0 / 1024, true}
	routinesColumn = column{"goroutines/client", (*measurement).goroutines, 1, true}

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

// writeTable writes the median of each column with its interval, and the multiple of base. If peer
// is not nil, one more column compares the first column with that of peer, the best one.
func writeTable(w io.Writer, title string, cols []column, rows []row, base, peer *result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, title)
	for _, c := range cols {
		fmt.Fprintf(t, "\t%s", c.title)
	}
	if peer != nil {
		fmt.Fprint(t, "\tof the best peer")
	}
	fmt.Fprintln(t)
	for _, row := range rows {
		fmt.Fprintf(t, "  %s", row.label)
		if len(row.result.Rounds) == 0 {
			fmt.Fprintf(t, "\tfailed: %s\n", row.result.Failed)
			continue
		}
		for _, c := range cols {
			fmt.Fprint(t, "\t", c.cell(row.result, base))
		}
		if peer != nil {
			of, _ := row.result.ratioTo(peer, 1, cols[0].of)
			text := of.String()
			if of.self {
				text = "best peer"
			}
			fmt.Fprint(t, "\t", text)
		}
		if row.result.Failed != "" {
			fmt.Fprintf(t, "\tthen failed: %s", row.result.Failed)
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}

// cell returns the text of one contender in the column.
func (c *column) cell(r, base *result) string {
	f := r.figure(c.of)
	if f.Median == 0 && (c.title == allocsColumn.title || c.title == bytesColumn.title) {
		return "-" // this contender is not a Go program
	}
	text := f.format(c.scale)
	if of, ok := r.ratioTo(base, 1, c.of); ok {
		text += " " + of.String()
	}
	return text
}

func find(results []result, contender string) *result {
	for i := range results {
		if results[i].Contender == contender {
			return &results[i]
		}
	}
	return nil
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
