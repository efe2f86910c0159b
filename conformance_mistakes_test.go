package mqtt_test

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// rowOf returns the line of doc that begins with the cell row.
func rowOf(t *testing.T, doc, row string) string {
	t.Helper()
	i := strings.Index(doc, "\n| "+row+" |")
	if i < 0 {
		t.Fatalf("no row of %s", row)
	}
	line, _, _ := strings.Cut(doc[i+1:], "\n")
	return line + "\n"
}

// withHeld returns the document with text in the third cell of a row, which names the tests.
func withHeld(t *testing.T, doc, row, text string) string {
	t.Helper()
	line := rowOf(t, doc, row)
	cells := strings.Split(line, "|")
	cells[3] = " " + text + " "
	return strings.Replace(doc, line, strings.Join(cells, "|"), 1)
}

// A mistake is a change of the document, and a part of the problem that conformanceProblems must
// report for it.
type mistake struct{ doc, want string }

func reportsEach(t *testing.T, doc string, mistakes map[string]mistake) {
	t.Helper()
	tests := make(testIndex)
	if problems := conformanceProblems(doc, tests); len(problems) > 0 {
		t.Fatalf("the document has problems without a mistake: %q", problems)
	}
	for name, row := range mistakes {
		t.Run(name, func(t *testing.T) {
			if row.doc == doc {
				t.Fatal("the mistake was not made")
			}
			problems := strings.Join(conformanceProblems(row.doc, tests), "\n")
			if !strings.Contains(problems, row.want) {
				t.Errorf("the problems are %q, want %q", problems, row.want)
			}
		})
	}
}

// The sections of the two versions that have numbers are checked alike, each for itself.
func TestConformanceOfEachVersionIsCheckedForEachMistake(t *testing.T) {
	const client, borne = "MQTT-3.1.0-1", "MQTT-3.2.0-1" // in both versions
	for section, nothing := range map[string]string{"MQTT 5": "MQTT-3.1.3-10", "MQTT 3.1.1": "MQTT-7.1.1-1"} {
		t.Run(section, func(t *testing.T) {
			doc := read(t, "CONFORMANCE.md")
			before, text, ok := strings.Cut(doc, "\n## "+section+"\n")
			if !ok {
				t.Fatal("there is no such section")
			}
			before += "\n## " + section + "\n"
			replace := func(old, new string) string { return before + strings.Replace(text, old, new, 1) }
			row, of := rowOf(t, text, client), `"`+section
			reportsEach(t, doc, map[string]mistake{
				"no row for a client":              {replace(row, ""), client + " is missing under " + of},
				"no row for a broker statement":    {replace(rowOf(t, text, borne), ""), borne + " is missing under " + of},
				"no mention of an empty statement": {replace(" "+nothing, ""), nothing + " is missing under " + of},
				"a number that there is not":       {replace(" "+nothing, " "+nothing+" MQTT-9.9.9-9"), "MQTT-9.9.9-9 does not belong under " + of},
				"a row twice":                      {replace(row, row+row), client + " is twice under " + of},
				"a row in another table": {
					before + strings.Replace(strings.Replace(text, row, "", 1), rowOf(t, text, borne), row+rowOf(t, text, borne), 1),
					client + " does not belong under " + of,
				},
				"a number in words too": {replace("\n| statement", "\nSee "+client+".\n\n| statement"), client + " stands under " + of + `" more than once`},
				"a table that has gone": {replace("\n### "+clientTable, "\n### Elsewhere"), client + " is missing under " + of},
				"no test":               {before + withHeld(t, text, client, ""), client + " names no test"},
			})
		})
	}
}

// The cases that do not depend on the version.
func TestConformanceTableIsCheckedForEachMistake(t *testing.T) {
	doc := read(t, "CONFORMANCE.md")
	const client, borne, difference = "MQTT-3.1.0-1", "MQTT-3.2.0-1", "strings"
	replace := func(old, new string) string { return strings.Replace(doc, old, new, 1) }
	held := func(row, text string) string { return withHeld(t, doc, row, text) }
	row, differs := rowOf(t, doc, client), rowOf(t, doc, difference)
	good := "`stream.TestConnectOnTheWire`"
	reportsEach(t, doc, map[string]mistake{
		"no row for a difference":        {replace(differs, ""), difference + " is missing"},
		"a difference that there is not": {replace(differs, differs+"| size | x | "+good+" |\n"), "size does not belong"},
		"a difference twice":             {replace(differs, differs+differs), difference + " is twice"},
		"a number in the preamble":       {replace("# Conformance\n", "# Conformance\n\nSee "+client+".\n"), client + " stands in the preamble"},
		"a section that has gone":        {replace("## MQTT 3.1\n", "## Elsewhere\n"), difference + " is missing"},
		"a section that there is not":    {doc + "\n## MQTT 4\n", "\"MQTT 4\" is no section of a version"},
		"a number in another section":    {doc + "\n## MQTT 4\n\nSee " + client + ".\n", client + " stands in MQTT 4"},
		"two cells":                      {replace(row, "| "+client+" | "+good+" |\n"), "does not have three cells"},
		"nothing about it":               {replace(row, "| "+client+" |  | "+good+" |\n"), client + " has an empty second cell"},
		"no test for a broker statement": {held(borne, ""), "names no test"},
		"no test for a difference":       {held(difference, ""), "names no test"},
		"words for a test":               {held(client, "TestConnectOnTheWire"), "is not a test"},
		"by review, not known as that":   {held(borne, reviewed+"looked at."), "is not a test"},
		"a review of nothing":            {held("MQTT-7.0.0-2", reviewed), `want "By review: " and a reason`},
		"a test that there is not":       {held(client, good+" `stream.TestNoSuchThing`"), "no test TestNoSuchThing in stream"},
		"a test of another folder":       {held(client, "`flow.TestConnectOnTheWire`"), "no test TestConnectOnTheWire in flow"},
		"a folder without tests to name": {held(client, "`examples.TestConnectOnTheWire`"), "is not a test"},
		"TestMain":                       {held(client, "`stream.TestMain`"), "no test TestMain in stream"},
		"a benchmark":                    {held(client, "`frames.BenchmarkMatch`"), "is not a test"},
		"an example":                     {held(client, "`frames.ExampleMatch`"), "is not a test"},
		"a function that is not a test":  {held(client, "`stream.bubble`"), "is not a test"},
		"a comma between":                {held(client, good+", `stream.TestUnixSocket`"), "is not a test"},
	})
	for _, good := range []string{
		"`frames.FuzzMatch`", "`stream/streamtest.TestRingIsAQueueWhateverTheSteps`", "`mqtt.TestImportsPointOneWay`",
		"`stream/internal/link.TestARefusalHasItsReason`",
	} {
		if problems := conformanceProblems(held(client, good), make(testIndex)); len(problems) > 0 {
			t.Errorf("%s is rejected: %q", good, problems)
		}
	}
}

// testsOf must leave out functions that only look like tests.
func TestConformanceKnowsATestByItsForm(t *testing.T) {
	const source = `package p
import "testing"
func TestGood(t *testing.T) {}
func FuzzGood(f *testing.F) {}
func TestHelper(t *testing.T, n int) {}
func TestResult(t *testing.T) error { return nil }
func TestPlain() {}
func TestMain(m *testing.M) {}
func TestFuzz(f *testing.F) {}
func FuzzTest(t *testing.T) {}
func (x *rig) TestMethod(t *testing.T) {}
func helper(t *testing.T) {}
`
	f, err := parser.ParseFile(token.NewFileSet(), "p_test.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, is := range testsOf(f) {
		if want := name == "TestGood" || name == "FuzzGood"; is != want {
			t.Errorf("%s counts as a test: %t", name, is)
		}
	}
	if tests := testsOf(f); !tests["TestGood"] || !tests["FuzzGood"] {
		t.Errorf("the tests are %v", tests)
	}
}
