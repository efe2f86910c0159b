package mqtt_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt"
)

// Each field, error and record of the log that OPERATIONS.md names exists, and each record at Warn
// and Error is in OPERATIONS.md.
func TestNamesInOperationsExistInTheCode(t *testing.T) {
	text := read(t, "OPERATIONS.md")
	withinWidth(t, "OPERATIONS.md", text)
	if rows := len(regexp.MustCompile(`(?m)^\| [^-|].*\|.*\|.*\|$`).FindAllString(text, -1)); rows < 20 {
		t.Errorf("%d rows, want at least 20", rows)
	}
	fields := map[string]reflect.Type{
		"Stats":     reflect.TypeFor[mqtt.Stats](),
		"State":     reflect.TypeFor[mqtt.State](),
		"Options":   reflect.TypeFor[mqtt.Options](),
		"OptionsV5": reflect.TypeFor[mqtt.OptionsV5](),
	}
	for _, m := range regexp.MustCompile("`(Stats|State|Options|OptionsV5)\\.(\\w+)`").FindAllStringSubmatch(text, -1) {
		if _, ok := fields[m[1]].FieldByName(m[2]); !ok {
			t.Errorf("%s has no field %s", m[1], m[2])
		}
	}
	names := exported(t)
	for _, m := range regexp.MustCompile("`\\*?((?:Err\\w+)|(?:\\w+Error))`").FindAllStringSubmatch(text, -1) {
		if !names[m[1]] {
			t.Errorf("neither package mqtt nor a store has the error %s", m[1])
		}
	}

	literals, warnings := texts(t)
	logs := regexp.MustCompile("(?:[lL]og|, or) `([^`]+)`").FindAllStringSubmatch(text, -1)
	if len(logs) < 20 {
		t.Errorf("%d records of the log, want at least 20", len(logs))
	}
	for _, m := range logs {
		if !strings.Contains(m[1], " ") {
			continue // a name
		}
		if !contains(literals, m[1], func(literal, want string) bool { return literal == want || strings.HasPrefix(want, "mqtt: ") }) {
			t.Errorf("no record of the log is %q", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`((?:mqtt: |were )[^`]+)`").FindAllStringSubmatch(text, -1) {
		if !contains(literals, m[1], strings.Contains) {
			t.Errorf("no error has the text %q", m[1])
		}
	}
	for _, w := range warnings {
		if !strings.Contains(text, "`"+w+"`") {
			t.Errorf("the record %q, at Warn or Error, is not in OPERATIONS.md", w)
		}
	}
}

func contains(literals []string, want string, match func(literal, want string) bool) bool {
	for _, l := range literals {
		if match(l, want) {
			return true
		}
	}
	return false
}

// texts returns the constant strings of the session, and the strings that it logs at Warn or Error.
func texts(t *testing.T) (literals, warnings []string) {
	t.Helper()
	for _, pattern := range []string{"stream/*.go", "stream/internal/link/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 1 {
					name, _ := call.Fun.(*ast.SelectorExpr)
					if s, ok := constant(call.Args[0]); ok && name != nil && (name.Sel.Name == "Warn" || name.Sel.Name == "warn" || name.Sel.Name == "Error") {
						warnings = append(warnings, s)
					}
				}
				if e, ok := n.(ast.Expr); ok {
					if s, ok := constant(e); ok {
						literals = append(literals, s)
					}
				}
				return true
			})
		}
	}
	return literals, warnings
}

// constant returns the value of a string literal, or of a sum of string literals.
func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr:
		x, okX := constant(e.X)
		y, okY := constant(e.Y)
		return x + y, okX && okY && e.Op == token.ADD
	}
	return "", false
}

// exported returns the exported names of package mqtt and of the stores.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for _, pattern := range []string{"mqtt.go", "flow/*.go", "flow/logstore/*.go", "flow/boltstore/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				decl, ok := d.(*ast.GenDecl)
				if !ok {
					continue
				}
				for _, spec := range decl.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						names[spec.Name.Name] = true
					case *ast.ValueSpec:
						for _, n := range spec.Names {
							names[n.Name] = true
						}
					}
				}
			}
		}
	}
	return names
}
