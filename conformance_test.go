package mqtt_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// statements are those of MQTT 3.1.1, appendix B, that bind a client, by number.
// The standard prints one of them with a hyphen.
const statements = `
1.5.3-1 1.5.3-2 1.5.3-3 2.2.2-1 2.2.2-2 2.3.1-1 2.3.1-2 2.3.1-3 2.3.1-5 2.3.1-6
3.1.0-1 3.1.2-1 3.1.2-2 3.1.2-3 3.1.2-4 3.1.2-6 3.1.2-9 3.1.2-11 3.1.2-13 3.1.2-14
3.1.2-15 3.1.2-18 3.1.2-19 3.1.2-20 3.1.2-21 3.1.2-22 3.1.2-23 3.1.3-1 3.1.3-2 3.1.3-3
3.1.3-4 3.1.3-7 3.1.3-10 3.1.3-11 3.3.1-1 3.3.1-2 3.3.1-3 3.3.1-4 3.3.2-1 3.3.2-2
3.3.4-1 3.6.1-1 3.8.1-1 3.8.3-1 3.8.3-3 3-8.3-4 3.10.1-1 3.10.3-1 3.10.3-2 3.14.1-1
3.14.4-1 3.14.4-2 4.1.0-1 4.1.0-2 4.3.1-1 4.3.2-1 4.3.2-2 4.3.3-1 4.3.3-2 4.4.0-1
4.5.0-2 4.6.0-1 4.6.0-2 4.6.0-3 4.6.0-4 4.7.1-1 4.7.1-2 4.7.1-3 4.7.3-1 4.7.3-2
4.7.3-3 4.8.0-1 4.8.0-2 6.0.0-1 6.0.0-2 6.0.0-3 7.0.0-2 7.1.2-1`

// Every statement has a row, and every row names tests that exist, or says that
// the statement is not held yet.
func TestConformanceTableIsTrue(t *testing.T) {
	row := regexp.MustCompile(`(?m)^\| MQTT-(\S+) \| (.+?) \| (.+?) \|$`)
	name := regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz)\\w+)`")
	rows := make(map[string]bool)
	tests := make(map[string]map[string]bool)
	for _, r := range row.FindAllStringSubmatch(read(t, "CONFORMANCE.md"), -1) {
		number, held := r[1], r[3]
		if rows[number] {
			t.Errorf("MQTT-%s has two rows", number)
		}
		rows[number] = true
		named := name.FindAllStringSubmatch(held, -1)
		if len(named) == 0 && !strings.HasPrefix(held, "Not held yet: ") && !strings.HasPrefix(held, "By review: ") {
			t.Errorf("MQTT-%s names no test: %q", number, held)
		}
		for _, n := range named {
			folder := n[1]
			if tests[folder] == nil {
				tests[folder] = testsIn(t, folder)
			}
			if !tests[folder][n[2]] {
				t.Errorf("MQTT-%s: there is no %s in %s", number, n[2], folder)
			}
		}
	}
	for _, number := range strings.Fields(statements) {
		if !rows[number] {
			t.Errorf("MQTT-%s has no row", number)
		}
		delete(rows, number)
	}
	for number := range rows {
		t.Errorf("MQTT-%s is not a statement about clients", number)
	}
}

// testsIn returns the names of the test functions in a folder; mqtt is the root.
func testsIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	if folder == "mqtt" {
		folder = "."
	}
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %q: %v", folder, err)
	}
	names := make(map[string]bool)
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}
