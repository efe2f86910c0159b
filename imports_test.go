package mqtt_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/go-millrace/mqtt"

// imports returns the imports of each package of this module: build has those of its ordinary
// files, tests those of its test files. The keys are the paths of the packages.
func imports(t *testing.T) (build, tests map[string][]string) {
	t.Helper()
	build, tests = map[string][]string{}, map[string][]string{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name == "." {
				return nil
			}
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil { // another module
				return fs.SkipDir
			}
			if base := d.Name(); base == "testdata" || base[0] == '.' || base[0] == '_' {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		of := build
		if strings.HasSuffix(name, "_test.go") {
			of = tests
		}
		pkg := path.Join(module, filepath.ToSlash(filepath.Dir(name)))
		if of[pkg] == nil {
			of[pkg] = []string{} // the package exists, even if it imports nothing
		}
		for _, i := range f.Imports {
			if p := strings.Trim(i.Path.Value, `"`); !slices.Contains(of[pkg], p) {
				of[pkg] = append(of[pkg], p)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return build, tests
}

// isStandard reports whether p is in the standard library, whose paths have no dot in the first
// element.
func isStandard(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".")
}

// The layers are frames <- flow <- stream <- mqtt, with link below stream, streamtest beside flow,
// and the stores and storetest on top of flow.
func TestImportsPointOneWay(t *testing.T) {
	const link = module + "/stream/internal/link"
	const backoff, websocket = "github.com/jpillora/backoff", "github.com/coder/websocket"
	allowed := map[string][]string{
		module + "/frames":            nil,
		module + "/flow":              {module + "/frames", module + "/flow/list", backoff},
		module + "/flow/list":         nil,
		module + "/flow/boltstore":    {module + "/frames", module + "/flow", "go.etcd.io/bbolt", "go.etcd.io/bbolt/errors"},
		module + "/flow/logstore":     {module + "/frames", module + "/flow", "golang.org/x/sys/windows"},
		module + "/flow/storetest":    {module + "/frames", module + "/flow"},
		link:                          {module + "/frames", websocket},
		module + "/stream":            {module + "/frames", module + "/flow", module + "/flow/list", link, backoff},
		module + "/stream/streamtest": {module + "/frames"},
		module:                        {module + "/frames", module + "/flow", module + "/stream", backoff},
	}
	build, _ := imports(t)
	for pkg, list := range build {
		may, known := allowed[pkg]
		if !known {
			t.Errorf("package %s is unknown to this test", pkg)
		}
		for _, p := range list {
			if !isStandard(p) && !slices.Contains(may, p) {
				t.Errorf("%s imports %s", pkg, p)
			}
		}
	}
	for pkg := range allowed {
		if build[pkg] == nil {
			t.Errorf("%s was not found", pkg)
		}
	}
}

// Brokers and other clients may be dependencies of the modules in examples/ and integration/ only.
func TestModuleHasOnlyAllowedDependencies(t *testing.T) {
	allowed := []string{"github.com/coder/websocket", "github.com/jpillora/backoff", "go.etcd.io/bbolt",
		"go.uber.org/goleak", "pgregory.net/rapid"} // goleak and rapid are for tests only
	_, tests := imports(t)
	for pkg, list := range tests {
		for _, p := range list {
			own := p == module || strings.HasPrefix(p, module+"/")
			if !isStandard(p) && !own && !slices.Contains(allowed, p) {
				t.Errorf("the tests of %s import %s", pkg, p)
			}
		}
	}
	allowed = append(allowed, "golang.org/x/sys") // required by bbolt, and by logstore on Windows
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "require ")
		name, _, _ := strings.Cut(line, " ")
		if strings.Contains(name, "/") && !slices.Contains(allowed, name) {
			t.Errorf("go.mod names %s", name)
		}
	}
}

// U45: the module builds for a platform without sockets and without mmap.
func TestTheModuleBuildsForJS(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the module again")
	}
	build := exec.Command("go", "build", "./...")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
