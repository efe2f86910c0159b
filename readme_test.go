package mqtt_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// Each code block of the README that names a file of examples/ is an exact copy of that file.
func TestReadmeShowsTheExamples(t *testing.T) {
	readme := read(t, "README.md")
	snippet := regexp.MustCompile("(?s)<!-- (examples/\\S+) -->\n```go\n(.*?)```\n")
	found := snippet.FindAllStringSubmatch(readme, -1)
	if len(found) < 3 {
		t.Fatalf("%d snippets that name their file, want the range loop, the select loop and the pipeline", len(found))
	}
	for _, f := range found {
		if f[2] != read(t, f[1]) {
			t.Errorf("the snippet of %s is not the file's text", f[1])
		}
	}
	if n := strings.Count(readme, "\n"); n >= 200 {
		t.Errorf("README.md has %d lines, want fewer than 200", n)
	}
}

// withinWidth checks that no line outside tables has more than 100 columns.
func withinWidth(t *testing.T, file, text string) {
	t.Helper()
	for i, line := range strings.Split(text, "\n") {
		if n := utf8.RuneCountInString(line); n > 100 && !strings.HasPrefix(line, "|") {
			t.Errorf("%s:%d has %d columns, want at most 100", file, i+1, n)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
