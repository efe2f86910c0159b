package main

import (
	"fmt"
	"io"
)

// A report shows results as they come.
type report struct {
	w        io.Writer
	results  []result
	verdicts []string

	// The trials of a group that have come; their table waits for the last one.
	group []trial
	rows  []row
}

// take shows the results of a trial, or keeps them for the table of its group.
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
	writeTable(p.w, t.Name, columns(&t.scenario), rows, find(results, pahoName))
	for _, goal := range t.targets {
		verdict := goal.verdict(results)
		fmt.Fprintf(p.w, "  %s\n", verdict)
		p.verdicts = append(p.verdicts, t.Name+": "+verdict)
	}
	fmt.Fprintln(p.w)
}

// flush shows the table of a group, with multiples of its first row.
func (p *report) flush() {
	if len(p.rows) > 0 {
		t := &p.group[0]
		writeTable(p.w, fmt.Sprintf("%s, %s", p.rows[0].result.Contender, t.group), columns(&t.scenario), p.rows, p.rows[0].result)
		fmt.Fprintln(p.w)
	}
	p.group, p.rows = nil, nil
}

// finish shows what is left, and all targets together.
func (p *report) finish() {
	p.flush()
	for _, v := range p.verdicts {
		fmt.Fprintln(p.w, v)
	}
}
