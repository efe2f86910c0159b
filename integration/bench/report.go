package main

import (
	"fmt"
	"io"
)

// A report writes the tables as results arrive.
type report struct {
	w        io.Writer
	results  []result
	verdicts []string

	// The trials and rows of an incomplete group. The table of the group is written after its last
	// trial.
	group []trial
	rows  []row
}

// take writes the results of a trial. If the trial belongs to a group, take keeps the results for
// the table of the group.
func (p *report) take(t *trial, results []result) {
	p.results = append(p.results, results...)
	if len(p.group) > 0 && t.group != p.group[0].group {
		p.flush()
	}
	if t.group != "" {
		p.group = append(p.group, *t)
		for i := range results {
			p.rows = append(p.rows, row{t.label, &results[i]})
		}
		return
	}
	var rows []row
	for i := range results {
		rows = append(rows, row{results[i].Contender, &results[i]})
	}
	if len(rows) == 0 {
		return
	}
	cols := columns(&t.scenario)
	writeTable(p.w, t.Name, cols, rows, find(results, pahoName), bestPeer(results, &cols[0]))
	for _, goal := range t.targets {
		verdict := goal.verdict(results)
		fmt.Fprintf(p.w, "  %s\n", verdict)
		p.verdicts = append(p.verdicts, t.Name+": "+verdict)
	}
	fmt.Fprintln(p.w)
}

// flush writes the table of a group, with multiples of the figures in its first row.
func (p *report) flush() {
	if len(p.rows) > 0 {
		t := &p.group[0]
		writeTable(p.w, fmt.Sprintf("%s, %s", p.rows[0].result.Contender, t.group), columns(&t.scenario), p.rows, p.rows[0].result, nil)
		fmt.Fprintln(p.w)
	}
	p.group, p.rows = nil, nil
}

// finish writes the last table and a list of all targets.
func (p *report) finish() {
	p.flush()
	for _, v := range p.verdicts {
		fmt.Fprintln(p.w, v)
	}
}
