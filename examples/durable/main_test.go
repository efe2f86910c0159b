package main

import (
	"path/filepath"
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestReadingsAreStoredThenSentUntilCtrlC(t *testing.T) {
	p := exampletest.Start(t, "-every", "10ms", "-store", filepath.Join(t.TempDir(), "session"))
	p.Expect(
		`^stored    reading 1$`,
		`^receipt   reading 1, packet 1, error <nil>$`,
	)
	p.Interrupt()
}

func TestAStoreThatCannotBeOpenedIsAnError(t *testing.T) {
	exampletest.Start(t, "-store", "main.go").Fail(`not a directory`)
}
