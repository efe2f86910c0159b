package main

import (
	"fmt"
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestAcksLeaveInOrderWhateverTheOrderOfSettling(t *testing.T) {
	p := exampletest.Start(t)
	p.Expect(
		`^worker . acks the job of 600ms$`,
		`^worker . acks the job of 200ms$`,
		`^worker . acks the job of 100ms$`,
		`^worker . acks the job of 150ms$`,
		`^PUBACK   4$`,
	)
	out := p.Interrupt()
	exampletest.LastLine(t, out, `^finished  \d+ received, 0 unacknowledged$`)
	acks := 0
	for _, line := range out {
		var id int
		if n, _ := fmt.Sscanf(line, "PUBACK %d", &id); n == 1 {
			if acks++; id != acks {
				t.Errorf("PUBACK %d left at position %d", id, acks)
			}
		}
	}
}
