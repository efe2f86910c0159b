package mqtt_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// Comments are at most 100 columns wide, in all modules. A comment that has a line of its own is
// measured with its indentation, a comment behind code without the code.
func TestCommentsAreAtMost100ColumnsWide(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(name, ".go"):
			files++
			text := read(t, name)
			for line, width := range wideComments(t, name, text) {
				t.Errorf("%s:%d has a comment of %d columns, want at most 100", name, line, width)
			}
		}
		return nil
	})
	if err != nil || files < 400 {
		t.Fatalf("%d files, %v", files, err)
	}
}

// wideComments returns the widths of the comments above 100 columns, by line.
func wideComments(t *testing.T, name, text string) map[int]int {
	t.Helper()
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text, "\n")
	wide := map[int]int{}
	for _, group := range f.Comments {
		for _, c := range group.List {
			first := files.Position(c.Pos()).Line
			for i, part := range strings.Split(c.Text, "\n") {
				line := lines[first+i-1]
				if code, _, _ := strings.Cut(line, part); strings.TrimSpace(code) == "" {
					part = line
				}
				if n := utf8.RuneCountInString(part); n > 100 {
					wide[first+i] = n
				}
			}
		}
	}
	return wide
}

func TestWideCommentsAreFound(t *testing.T) {
	fits, over := "// "+strings.Repeat("ä", 97), "// "+strings.Repeat("ä", 98)
	for name, c := range map[string]struct {
		text string
		want int // the line of the comment, 0: none
	}{
		"100 columns":             {fits + "\npackage p\n", 0},
		"101 columns":             {over + "\npackage p\n", 1},
		"an indented comment":     {"package p\n\nfunc f() {\n\t" + fits + "\n}\n", 4},
		"a comment behind code":   {"package p\n\nvar a = 1 " + fits + "\n", 0},
		"too wide a one":          {"package p\n\nvar a = 1 " + over + "\n", 3},
		"a block":                 {"/* a\n" + over + "\n*/\npackage p\n", 2},
		"a string like a comment": {"package p\n\nvar a = `\n" + over + "`\n", 0},
	} {
		wide := wideComments(t, "p.go", c.text)
		if want := c.want != 0; len(wide) > 1 || (len(wide) == 1) != want || want && wide[c.want] != 101 {
			t.Errorf("%s: found %v, want line %d", name, wide, c.want)
		}
	}
}
