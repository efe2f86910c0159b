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

// differences lists the first cells of the table of differences between MQTT 3.1 and 3.1.1.
var differences = []string{
	"CONNECT", "client identifier", "byte 1 of CONNACK", "codes of SUBACK", "DUP on PUBREL, SUBSCRIBE, UNSUBSCRIBE",
	"retry while connected", "retry of acks", "strings", "length of topics",
	"topics without a character or with wildcards", "payload of the will", "user name and password", "$ topics",
	"PINGRESP that does not come", "violation of the protocol", "WebSocket", "receiving at QoS 2", "clean session",
	"brokers without 3.1",
}

// byReview lists the statements that are checked by review. Their rows begin with the constant
// reviewed instead of the name of a test.
var byReview = []string{"7.0.0-2"}

const reviewed = "By review: "

// folders maps the name of each folder whose tests a row may name to the path of that folder.
var folders = map[string]string{
	"mqtt": ".", "frames": "frames", "flow": "flow", "flow/boltstore": "flow/boltstore",
	"stream": "stream", "stream/streamtest": "stream/streamtest", "integration": "integration",
}

func TestConformanceTableIsTrue(t *testing.T) {
	for _, problem := range conformanceProblems(read(t, "CONFORMANCE.md"), make(testIndex)) {
		t.Error(problem)
	}
}

// conformanceProblems returns the mistakes in the document: every statement must have exactly one
// row, in the table of its kind, and every row must name tests that exist.
func conformanceProblems(doc string, tests testIndex) (problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	check := func(row, held string) {
		switch {
		case slices.Contains(byReview, row):
			if !strings.HasPrefix(held, reviewed) || len(held) == len(reviewed) {
				complain("%s says %q, want %q and a reason", row, held, reviewed)
			}
			return
		case held == "":
			complain("%s names no test", row)
			return
		}
		for _, name := range strings.Split(held, " ") {
			folder, test, ok := splitTest(name)
			if !ok {
				complain("%s: %q is not a test in one of the folders", row, name)
				continue
			}
			if !tests.testsOf(folder)[test] {
				complain("%s: there is no test %s in %s", row, test, folder)
			}
		}
	}

	parts := sections(doc)
	for heading, want := range map[string][]string{
		"Statements about clients":                    prefixed(aboutClients),
		"Statements about brokers":                    prefixed(aboutBrokers),
		"Statements that require nothing of a client": prefixed(asksNothing),
		"MQTT 3.1": differences,
	} {
		got := make(map[string]bool)
		found := func(row string) {
			switch {
			case got[row]:
				complain("%s is twice under %q", row, heading)
			case !slices.Contains(want, row):
				complain("%s does not belong under %q", row, heading)
			}
			got[row] = true
		}
		if heading == "Statements that require nothing of a client" {
			for _, number := range strings.Fields(parts[heading]) {
				found(number)
			}
		} else {
			for i, line := range strings.Split(strings.Trim(parts[heading], "\n"), "\n") {
				cells := strings.Split(line, "|")
				switch {
				case !strings.HasPrefix(line, "|"): // text before the table
					continue
				case len(cells) != 5 || strings.TrimSpace(cells[0]+cells[4]) != "":
					complain("line %d under %q does not have three cells: %q", i+1, heading, line)
					continue
				case isHead(cells):
					continue
				}
				row := strings.TrimSpace(cells[1])
				found(row)
				if strings.TrimSpace(cells[2]) == "" {
					complain("%s has an empty second cell", row)
				}
				check(strings.TrimPrefix(row, "MQTT-"), strings.TrimSpace(cells[3]))
			}
		}
		for _, row := range want {
			if !got[row] {
				complain("%s is missing under %q", row, heading)
			}
		}
	}

	count := make(map[string]int)
	for _, number := range regexp.MustCompile(`MQTT-\d[-.\d]*\d`).FindAllString(doc, -1) {
		if count[number]++; count[number] == 2 {
			complain("%s stands in the document more than once", number)
		}
	}
	return problems
}

// sections returns the text below each heading of level 2 in doc.
func sections(doc string) map[string]string {
	parts := make(map[string]string)
	for _, part := range strings.Split(doc, "\n## ")[1:] {
		heading, rest, _ := strings.Cut(part, "\n")
		parts[heading] += rest
	}
	return parts
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
