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

// Each case makes one mistake in CONFORMANCE.md, which conformanceProblems must report.
func TestConformanceTableIsCheckedForEachMistake(t *testing.T) {
	doc := read(t, "CONFORMANCE.md")
	tests := make(testIndex)
	if problems := conformanceProblems(doc, tests); len(problems) > 0 {
		t.Fatalf("the document has problems without a mistake: %q", problems)
	}
	const client, borne, nothing, difference = "MQTT-3.1.0-1", "MQTT-3.2.0-1", "MQTT-7.1.1-1", "strings"
	replace := func(old, new string) string { return strings.Replace(doc, old, new, 1) }
	// held returns the document with text in the third cell of a row, which names the tests.
	held := func(row, text string) string {
		line := rowOf(t, doc, row)
		cells := strings.Split(line, "|")
		cells[3] = " " + text + " "
		return replace(line, strings.Join(cells, "|"))
	}
	good := "`stream.TestConnectOnTheWire`"
	for name, row := range map[string]struct{ doc, want string }{
		"no row for a client":             {replace(rowOf(t, doc, client), ""), client + " is missing"},
		"no row for what is borne":        {replace(rowOf(t, doc, borne), ""), borne + " is missing"},
		"no mention of what asks nothing": {replace(" "+nothing, ""), nothing + " is missing"},
		"no row for a difference":         {replace(rowOf(t, doc, difference), ""), difference + " is missing"},
		"a number that there is not":      {replace(" "+nothing, " "+nothing+" MQTT-9.9.9-9"), "MQTT-9.9.9-9 does not belong"},
		"a difference that there is not":  {replace(rowOf(t, doc, difference), rowOf(t, doc, difference)+"| size | x | "+good+" |\n"), "size does not belong"},
		"a row twice":                     {replace(rowOf(t, doc, client), strings.Repeat(rowOf(t, doc, client), 2)), client + " is twice"},
		"a difference twice":              {replace(rowOf(t, doc, difference), strings.Repeat(rowOf(t, doc, difference), 2)), difference + " is twice"},
		"a row in another table":          {strings.Replace(replace(rowOf(t, doc, client), ""), rowOf(t, doc, borne), rowOf(t, doc, client)+rowOf(t, doc, borne), 1), client + " does not belong"},
		"a number in words too":           {replace("# Conformance\n", "# Conformance\n\nSee MQTT-3.1.0-1.\n"), client + " stands in the document more than once"},
		"a table that has gone":           {replace("## MQTT 3.1\n", "## Elsewhere\n"), difference + " is missing"},
		"two cells":                       {replace(rowOf(t, doc, client), "| "+client+" | "+good+" |\n"), "does not have three cells"},
		"nothing about it":                {replace(rowOf(t, doc, client), "| "+client+" |  | "+good+" |\n"), client + " has an empty second cell"},

		"no test":                          {held(client, ""), "names no test"},
		"no test for what is borne":        {held(borne, ""), "names no test"},
		"no test for a difference":         {held(difference, ""), "names no test"},
		"words for a test":                 {held(client, "TestConnectOnTheWire"), "is not a test"},
		"by review, but not known as that": {held(borne, reviewed+"looked at."), "is not a test"},
		"a review of nothing":              {held("MQTT-7.0.0-2", reviewed), `want "By review: " and a reason`},

		"a test that there is not":           {held(client, good+" `stream.TestNoSuchThing`"), "no test TestNoSuchThing in stream"},
		"a test of another folder":           {held(client, "`flow.TestConnectOnTheWire`"), "no test TestConnectOnTheWire in flow"},
		"a folder that has no tests to name": {held(client, "`examples.TestConnectOnTheWire`"), "is not a test"},
		"TestMain":                           {held(client, "`stream.TestMain`"), "no test TestMain in stream"},
		"a benchmark":                        {held(client, "`frames.BenchmarkMatch`"), "is not a test"},
		"an example":                         {held(client, "`frames.ExampleMatch`"), "is not a test"},
		"a helper":                           {held(client, "`stream.bubble`"), "is not a test"},
		"a comma between":                    {held(client, good+", `stream.TestUnixSocket`"), "is not a test"},
	} {
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
	for _, good := range []string{"`frames.FuzzMatch`", "`stream/streamtest.TestRingIsAQueueWhateverTheSteps`", "`mqtt.TestImportsPointOneWay`"} {
		if problems := conformanceProblems(held(client, good), tests); len(problems) > 0 {
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
