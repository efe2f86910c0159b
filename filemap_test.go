package mqtt_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tables of ARCHITECTURE.md whose heads say "file in `folder/`" name each source file of the
// folder, and each pattern in them matches a file.
func TestArchitectureNamesEachSourceFile(t *testing.T) {
	code := regexp.MustCompile("`([^`]+)`")
	named := map[string][]string{} // the files that a table names, for each folder
	folder := ""
	for _, line := range strings.Split(read(t, "ARCHITECTURE.md"), "\n") {
		if !strings.HasPrefix(line, "|") {
			folder = ""
			continue
		}
		cell, _, _ := strings.Cut(line[1:], "|")
		patterns := code.FindAllStringSubmatch(cell, -1)
		if strings.HasPrefix(cell, " file in ") {
			folder = patterns[0][1]
			continue
		}
		if folder == "" {
			continue
		}
		for _, p := range patterns {
			files, err := filepath.Glob(folder + p[1])
			if err != nil || len(files) == 0 {
				t.Errorf("no file matches %s%s, which ARCHITECTURE.md names", folder, p[1])
			}
			named[folder] = append(named[folder], files...)
		}
	}
	if len(named) < 4 {
		t.Errorf("ARCHITECTURE.md has tables of %d folders, want at least 4", len(named))
	}
	for folder, list := range named {
		files, err := filepath.Glob(folder + "*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || filepath.Base(file) == "doc.go" || slices.Contains(list, filepath.Clean(file)) {
				continue
			}
			t.Errorf("ARCHITECTURE.md does not name %s", file)
		}
	}
}
