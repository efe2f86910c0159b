package mqtt_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// Each code block of the README that names a file of examples/, or a function in it, is an exact
// copy. So the README shows only code that is compiled and tested.
func TestReadmeShowsTheExamples(t *testing.T) {
	readme := read(t, "README.md")
	snippet := regexp.MustCompile("(?s)<!-- (examples/\\S+\\.go)(?:: (\\w+))? -->\n```go\n(.*?)```\n")
	found := snippet.FindAllStringSubmatch(readme, -1)
	if n := strings.Count(readme, "```go\n"); n != len(found) || n < 5 {
		t.Errorf("%d code blocks, %d of them name their file, want all of at least 5", n, len(found))
	}
	for _, f := range found {
		want := read(t, f[1])
		if f[2] != "" {
			want = function(t, f[1], f[2])
		}
		if f[3] != want {
			t.Errorf("the snippet of %s %s is not the text of the file", f[1], f[2])
		}
	}
	if n := strings.Count(readme, "\n"); n > 350 {
		t.Errorf("README.md has %d lines, want at most 350", n)
	}
	withinWidth(t, "README.md", readme)
}

// Each link of the README and of OPERATIONS.md to a file leads to one.
func TestLinksOfTheDocumentsLeadToFiles(t *testing.T) {
	for _, file := range []string{"README.md", "OPERATIONS.md"} {
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(read(t, file), -1) {
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// function returns the text of a function, with its comment.
func function(t *testing.T, file, name string) string {
	t.Helper()
	text, files := read(t, file), token.NewFileSet()
	f, err := parser.ParseFile(files, file, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && d.Name.Name == name {
			begin := d.Pos()
			if d.Doc != nil {
				begin = d.Doc.Pos()
			}
			return text[files.Position(begin).Offset:files.Position(d.End()).Offset] + "\n"
		}
	}
	t.Fatalf("%s has no function %s", file, name)
	return ""
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

// A command in the head comment of an example runs from the folder of the clone, or says that the
// example is a module of its own.
func TestHeadCommentsOfExamplesShowCommandsThatRun(t *testing.T) {
	files, err := filepath.Glob("examples/*/main.go")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		folder := filepath.ToSlash(filepath.Dir(file))
		want := "go run ./" + folder + " "
		if _, err := os.Stat(folder + "/go.mod"); err == nil {
			want = "GOWORK=off go run . "
		}
		head, _, _ := strings.Cut(read(t, file), "\npackage main\n")
		for _, command := range regexp.MustCompile(`(?m)^//\t(.* -[a-z].*)$`).FindAllStringSubmatch(head, -1) {
			if !strings.Contains(command[1], want) {
				t.Errorf("%s shows %q, want %q in it", file, command[1], want)
			}
		}
	}
}
