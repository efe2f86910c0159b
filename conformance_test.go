package mqtt_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The numbers of the conformance statements of MQTT 3.1.1 (appendix B). One of them, 3-8.3-4, has a
// hyphen in the standard.
const (
	// aboutClients lists the statements about clients and about both sides.
	aboutClients = `
1.5.3-1 1.5.3-2 1.5.3-3 2.2.2-1 2.2.2-2 2.3.1-1 2.3.1-2 2.3.1-3 2.3.1-5 2.3.1-6 3.1.0-1 3.1.2-1 3.1.2-2
3.1.2-3 3.1.2-4 3.1.2-6 3.1.2-9 3.1.2-11 3.1.2-13 3.1.2-14 3.1.2-15 3.1.2-18 3.1.2-19 3.1.2-20 3.1.2-21
3.1.2-22 3.1.2-23 3.1.3-1 3.1.3-2 3.1.3-3 3.1.3-4 3.1.3-7 3.1.3-10 3.1.3-11 3.3.1-1 3.3.1-2 3.3.1-3 3.3.1-4
3.3.2-1 3.3.2-2 3.3.4-1 3.6.1-1 3.8.1-1 3.8.3-1 3.8.3-3 3-8.3-4 3.10.1-1 3.10.3-1 3.10.3-2 3.14.1-1 3.14.4-1
3.14.4-2 4.1.0-1 4.1.0-2 4.3.1-1 4.3.2-1 4.3.2-2 4.3.3-1 4.3.3-2 4.4.0-1 4.5.0-2 4.6.0-1 4.6.0-2 4.6.0-3
4.6.0-4 4.7.1-1 4.7.1-2 4.7.1-3 4.7.3-1 4.7.3-2 4.7.3-3 4.8.0-1 4.8.0-2 6.0.0-1 6.0.0-2 6.0.0-3 7.0.0-2
7.1.2-1`

	// aboutBrokers lists the statements about brokers that a client must cope with.
	aboutBrokers = `
2.3.1-4 2.3.1-7 3.1.0-2 3.1.2-5 3.1.2-7 3.1.2-8 3.1.2-10 3.1.2-12 3.1.2-16 3.1.2-17 3.1.2-24 3.1.3-5 3.1.3-6
3.1.3-8 3.1.3-9 3.1.4-1 3.1.4-2 3.1.4-4 3.1.4-5 3.2.0-1 3.2.2-1 3.2.2-2 3.2.2-3 3.2.2-4 3.2.2-5 3.2.2-6
3.3.1-5 3.3.1-6 3.3.1-7 3.3.1-8 3.3.1-10 3.3.2-3 3.3.5-1 3.3.5-2 3.8.3-2 3.8.4-1 3.8.4-2 3.8.4-3 3.8.4-4
3.8.4-5 3.8.4-6 3.9.3-1 3.9.3-2 3.10.4-1 3.10.4-2 3.10.4-3 3.10.4-4 3.10.4-5 3.10.4-6 3.12.4-1 3.14.4-3
4.6.0-5 4.6.0-6 4.7.2-1 4.7.3-4 6.0.0-4`

	// asksNothing lists the statements that do not concern clients.
	asksNothing = `3.1.4-3 3.3.1-9 3.3.1-11 3.3.1-12 4.5.0-1 7.0.0-1 7.1.1-1`
)

// The numbers of the conformance statements of MQTT 5 (appendix B), in the same three groups.
const (
	aboutClients5 = `
1.5.4-1 1.5.4-2 1.5.4-3 1.5.5-1 1.5.7-1 2.1.3-1 2.2.1-2 2.2.1-3 2.2.1-5 2.2.2-1 3.1.0-1 3.1.2-1 3.1.2-2
3.1.2-3 3.1.2-4 3.1.2-9 3.1.2-11 3.1.2-12 3.1.2-13 3.1.2-16 3.1.2-17 3.1.2-18 3.1.2-19 3.1.2-20 3.1.2-21
3.1.2-23 3.1.2-30 3.1.3-1 3.1.3-2 3.1.3-3 3.1.3-4 3.1.3-11 3.1.3-12 3.2.2-4 3.2.2-5 3.2.2-11 3.2.2-14
3.2.2-15 3.2.2-17 3.2.2-18 3.2.2-21 3.3.1-1 3.3.1-2 3.3.1-3 3.3.1-4 3.3.2-1 3.3.2-2 3.3.2-7 3.3.2-8
3.3.2-9 3.3.2-10 3.3.2-13 3.3.2-14 3.3.2-19 3.3.4-1 3.3.4-6 3.3.4-7 3.3.4-8 3.4.2-1 3.4.2-2 3.4.2-3
3.5.2-1 3.5.2-2 3.5.2-3 3.6.1-1 3.6.2-1 3.6.2-2 3.6.2-3 3.7.2-1 3.7.2-2 3.7.2-3 3.8.1-1 3.8.3-1 3.8.3-2
3.8.3-4 3.8.3-5 3.10.1-1 3.10.3-1 3.10.3-2 3.14.1-1 3.14.2-1 3.14.2-3 3.14.2-4 3.14.4-1 3.14.4-2
3.15.1-1 3.15.2-1 3.15.2-2 3.15.2-3 4.1.0-1 4.2.0-1 4.3.1-1 4.3.2-1 4.3.2-2 4.3.2-3 4.3.2-4 4.3.2-5
4.3.3-1 4.3.3-2 4.3.3-3 4.3.3-4 4.3.3-5 4.3.3-6 4.3.3-7 4.3.3-8 4.3.3-9 4.3.3-10 4.3.3-11 4.3.3-12
4.3.3-13 4.4.0-1 4.4.0-2 4.5.0-2 4.6.0-1 4.6.0-2 4.6.0-3 4.6.0-4 4.7.0-1 4.7.1-1 4.7.1-2 4.7.3-1 4.7.3-2
4.7.3-3 4.8.2-1 4.8.2-2 4.9.0-1 4.9.0-2 4.9.0-3 4.12.0-3 4.12.0-5 4.12.0-7 4.12.1-1 4.12.1-2 4.13.2-1
6.0.0-1 6.0.0-2 6.0.0-3`

	aboutBrokers5 = `
2.2.1-4 2.2.1-6 3.1.0-2 3.1.2-5 3.1.2-6 3.1.2-8 3.1.2-10 3.1.2-14 3.1.2-15 3.1.2-22 3.1.2-24 3.1.2-26
3.1.2-27 3.1.2-28 3.1.2-29 3.1.3-5 3.1.3-6 3.1.3-7 3.1.3-8 3.1.3-9 3.1.4-1 3.1.4-2 3.1.4-3 3.1.4-4
3.1.4-5 3.1.4-6 3.2.0-1 3.2.0-2 3.2.2-1 3.2.2-2 3.2.2-3 3.2.2-6 3.2.2-7 3.2.2-8 3.2.2-9 3.2.2-10
3.2.2-12 3.2.2-13 3.2.2-16 3.2.2-19 3.2.2-20 3.2.2-22 3.3.1-5 3.3.1-6 3.3.1-9 3.3.1-10 3.3.1-11 3.3.1-12
3.3.1-13 3.3.2-3 3.3.2-4 3.3.2-5 3.3.2-6 3.3.2-11 3.3.2-12 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20
3.3.4-2 3.3.4-3 3.3.4-4 3.3.4-5 3.3.4-9 3.3.4-10 3.8.3-3 3.8.4-1 3.8.4-2 3.8.4-3 3.8.4-4 3.8.4-5 3.8.4-6
3.8.4-7 3.8.4-8 3.9.2-1 3.9.2-2 3.9.3-1 3.9.3-2 3.10.4-1 3.10.4-2 3.10.4-3 3.10.4-4 3.10.4-5 3.10.4-6
3.11.2-1 3.11.2-2 3.11.3-1 3.11.3-2 3.12.4-1 3.14.0-1 3.14.2-2 3.14.4-3 4.1.0-2 4.6.0-5 4.6.0-6 4.7.2-1
4.7.3-4 4.8.2-4 4.8.2-6 4.12.0-1 4.12.0-2 4.12.0-4 4.12.0-6 4.13.1-1 6.0.0-4`

	asksNothing5 = `3.1.2-7 3.1.2-25 3.1.3-10 3.3.1-7 3.3.1-8 4.5.0-1 4.8.2-3 4.8.2-5`
)

// differences lists the first cells of the table of differences between MQTT 3.1 and 3.1.1.
var differences = []string{
	"CONNECT", "client identifier", "byte 1 of CONNACK", "codes of SUBACK", "DUP on PUBREL, SUBSCRIBE, UNSUBSCRIBE",
	"retry while connected", "retry of acks", "strings", "length of topics",
	"topics without a character or with wildcards", "payload of the will", "user name and password", "$ topics",
	"PINGRESP that does not come", "violation of the protocol", "WebSocket", "receiving at QoS 2", "clean session",
	"brokers without 3.1",
}

// byReview lists the statements that are checked by review, behind the section that they stand in.
// Their rows begin with the constant reviewed instead of the name of a test.
var byReview = []string{"MQTT 3.1.1 MQTT-7.0.0-2"}

const reviewed = "By review: "

// folders maps the name of each folder whose tests a row may name to the path of that folder.
var folders = map[string]string{
	"mqtt": ".", "frames": "frames", "flow": "flow", "flow/boltstore": "flow/boltstore", "flow/logstore": "flow/logstore",
	"stream": "stream", "stream/streamtest": "stream/streamtest", "integration": "integration",
	"stream/internal/link": "stream/internal/link",
}

func TestConformanceTableIsTrue(t *testing.T) {
	for _, problem := range conformanceProblems(read(t, "CONFORMANCE.md"), make(testIndex)) {
		t.Error(problem)
	}
}

const (
	clientTable = "Statements about clients"
	brokerTable = "Statements about brokers"
	nothingLine = "Statements that require nothing of a client"
)

// tables maps the sections of the document to their parts, and each part to its first cells. The
// part "" is the text of a section that has no headings of its own.
var tables = map[string]map[string][]string{
	"MQTT 5": {
		clientTable: prefixed(aboutClients5), brokerTable: prefixed(aboutBrokers5), nothingLine: prefixed(asksNothing5),
	},
	"MQTT 3.1.1": {
		clientTable: prefixed(aboutClients), brokerTable: prefixed(aboutBrokers), nothingLine: prefixed(asksNothing),
	},
	"MQTT 3.1": {"": differences},
}

// The standards have as many statements as this, and each belongs to one group.
func TestConformanceKnowsEveryStatement(t *testing.T) {
	for section, want := range map[string]int{"MQTT 5": 251, "MQTT 3.1.1": 141} {
		var numbers []string
		for _, part := range tables[section] {
			numbers = append(numbers, part...)
		}
		slices.Sort(numbers)
		if n := len(slices.Compact(numbers)); n != want || n != len(numbers) {
			t.Errorf("%s has %d statements in its groups, %d of them different, want %d", section, len(numbers), n, want)
		}
	}
}

// conformanceProblems returns the mistakes in the document: in the section of its version, every
// statement must have exactly one row, in the table of its kind, and every row must name tests that
// exist.
func conformanceProblems(doc string, tests testIndex) []string {
	c := &conformance{tests: tests}
	preamble, found := parts(doc, "\n## ")
	c.numbersOnce("the preamble", preamble)
	for section, want := range tables {
		text, found := parts(found[section], "\n### ")
		found[""] = text
		for part, rows := range want {
			c.part(section, part, found[part], rows)
		}
	}
	for section, text := range found {
		if tables[section] == nil {
			c.complain("%q is no section of a version", section)
		}
		c.numbersOnce(section, text)
	}
	return c.problems
}

// A conformance collects the mistakes in the document.
type conformance struct {
	tests    testIndex
	problems []string
}

func (c *conformance) complain(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// part checks one part of a section, which must have the wanted rows.
func (c *conformance) part(section, part, text string, want []string) {
	where := strings.TrimSuffix(section+", "+part, ", ")
	got := make(map[string]bool)
	found := func(row string) {
		switch {
		case got[row]:
			c.complain("%s is twice under %q", row, where)
		case !slices.Contains(want, row):
			c.complain("%s does not belong under %q", row, where)
		}
		got[row] = true
	}
	if part == nothingLine {
		for _, number := range strings.Fields(text) {
			found(number)
		}
	} else {
		c.table(section, where, text, found)
	}
	for _, row := range want {
		if !got[row] {
			c.complain("%s is missing under %q", row, where)
		}
	}
}

// table checks the rows of a table and calls found with the first cell of each.
func (c *conformance) table(section, where, text string, found func(row string)) {
	for i, line := range strings.Split(strings.Trim(text, "\n"), "\n") {
		cells := strings.Split(line, "|")
		switch {
		case !strings.HasPrefix(line, "|"): // text before the table
			continue
		case len(cells) != 5 || strings.TrimSpace(cells[0]+cells[4]) != "":
			c.complain("line %d under %q does not have three cells: %q", i+1, where, line)
			continue
		case isHead(cells):
			continue
		}
		row := strings.TrimSpace(cells[1])
		found(row)
		if strings.TrimSpace(cells[2]) == "" {
			c.complain("%s has an empty second cell", row)
		}
		c.held(section, row, strings.TrimSpace(cells[3]))
	}
}

// held checks the third cell of a row.
func (c *conformance) held(section, row, held string) {
	switch {
	case slices.Contains(byReview, section+" "+row):
		if !strings.HasPrefix(held, reviewed) || len(held) == len(reviewed) {
			c.complain("%s says %q, want %q and a reason", row, held, reviewed)
		}
		return
	case held == "":
		c.complain("%s names no test", row)
		return
	}
	for _, name := range strings.Split(held, " ") {
		folder, test, ok := splitTest(name)
		switch {
		case !ok:
			c.complain("%s: %q is not a test in one of the folders", row, name)
		case !c.tests.testsOf(folder)[test]:
			c.complain("%s: there is no test %s in %s", row, test, folder)
		}
	}
}

var statementNumber = regexp.MustCompile(`MQTT-\d[-.\d]*\d`)

// numbersOnce checks that no number stands in a section more than once, and none in the preamble.
func (c *conformance) numbersOnce(section, text string) {
	count := make(map[string]int)
	for _, number := range statementNumber.FindAllString(text, -1) {
		count[number]++
		switch {
		case tables[section] == nil:
			c.complain("%s stands in %s", number, section)
		case count[number] == 2:
			c.complain("%s stands under %q more than once", number, section)
		}
	}
}

// parts returns the text before the first heading in doc, and the text below each heading. A
// heading of the level begins with mark.
func parts(doc, mark string) (before string, below map[string]string) {
	below = make(map[string]string)
	all := strings.Split(doc, mark)
	for _, part := range all[1:] {
		heading, rest, _ := strings.Cut(part, "\n")
		below[heading] += "\n" + rest
	}
	return all[0], below
}

// isHead reports whether cells come from one of the two header lines of a table.
func isHead(cells []string) bool {
	first := strings.TrimSpace(cells[1])
	return first == "---" || first == "statement" || first == "difference"
}

func prefixed(numbers string) (rows []string) {
	for _, number := range strings.Fields(numbers) {
		rows = append(rows, "MQTT-"+number)
	}
	return rows
}

var testName = regexp.MustCompile("^`([a-z/]+)\\.((?:Test|Fuzz)[^a-z`.]\\w*)`$")

// splitTest splits a name such as `flow.TestX` into folder and test.
func splitTest(name string) (folder, test string, ok bool) {
	m := testName.FindStringSubmatch(name)
	if m == nil || folders[m[1]] == "" {
		return "", "", false
	}
	return m[1], m[2], true
}

// A testIndex caches the tests of each folder.
type testIndex map[string]map[string]bool

// testsOf returns the names of the tests and fuzz tests in a folder.
func (x testIndex) testsOf(folder string) map[string]bool {
	if names, ok := x[folder]; ok {
		return names
	}
	names := make(map[string]bool)
	x[folder] = names
	files, _ := filepath.Glob(filepath.Join(folders[folder], "*_test.go"))
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			continue // the build reports the syntax error
		}
		maps.Copy(names, testsOf(f))
	}
	return names
}

func testsOf(f *ast.File) map[string]bool {
	names := make(map[string]bool)
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || fn.Type.Results != nil || fn.Type.Params.NumFields() != 1 {
			continue
		}
		pointer, ok := fn.Type.Params.List[0].Type.(*ast.StarExpr)
		if !ok {
			continue
		}
		of, ok := pointer.X.(*ast.SelectorExpr)
		if !ok {
			continue
		}
		name := fn.Name.Name
		names[name] = of.Sel.Name == "T" && strings.HasPrefix(name, "Test") || of.Sel.Name == "F" && strings.HasPrefix(name, "Fuzz")
	}
	return names
}
