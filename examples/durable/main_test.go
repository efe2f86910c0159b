package main

import (
	"path/filepath"
	"strings"
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

// The Receipt of a reading that was published just before Ctrl-C is printed too.
func TestEachStoredReadingHasItsReceiptAtTheEnd(t *testing.T) {
	p := exampletest.Start(t, "-every", "1ms", "-store", filepath.Join(t.TempDir(), "session"))
	p.Expect(`^stored    reading 100$`)
	stored, receipts := 0, 0
	for _, line := range p.Interrupt() {
		if strings.HasPrefix(line, "stored ") {
			stored++
		} else if strings.HasPrefix(line, "receipt ") {
			receipts++
		}
	}
	if stored < 100 || receipts < stored {
		t.Errorf("%d readings are stored, and there are %d Receipts", stored, receipts)
	}
}

func TestAStoreThatCannotBeOpenedIsAnError(t *testing.T) {
	exampletest.Start(t, "-store", "main.go").Fail(`not a directory`)
}
