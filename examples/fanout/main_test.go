package main

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestEventsAreWrittenUntilCtrlC(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.db")
	p := exampletest.Start(t, "-db", file, "-every", "20ms")
	p.Expect(`^joined    events-writer$`, `^committed \d+ messages, \d+ new, by worker \d$`)
	exampletest.LastLine(t, p.Interrupt(), `^finished  \d+ received, 0 unacknowledged$`)
	if len(written(t, file)) == 0 {
		t.Error("the table has no event")
	}
}

func TestAMessageThatIsNoEventIsRejectedAndHoldsUpNoOther(t *testing.T) {
	b := startBroker(t)
	file := filepath.Join(t.TempDir(), "events.db")
	p := exampletest.Start(t, "-broker", b.URL, "-db", file)
	p.Expect(`^joined `)
	b.publish("machine/1/event", `stopped`)
	b.publish("machine/1/event", `{"text": "without a number"}`)
	b.publish("machine/1/event", `{"number": 0, "text": "started"}`)
	p.Expect(`^rejected  "stopped"$`, `^rejected  "{\\"text\\": \\"without a number\\"}"$`)
	b.awaitAcks()
	exampletest.LastLine(t, p.Interrupt(), `^finished  3 received, 0 unacknowledged$`)
	if got := written(t, file); fmt.Sprint(got) != "map[machine/1/event:[0]]" {
		t.Errorf("the table has %v", got)
	}
}

func TestADatabaseThatCannotBeOpenedIsAnError(t *testing.T) {
	exampletest.Start(t, "-db", filepath.Join(t.TempDir(), "missing", "events.db")).Fail(`unable to open database file`)
}

func TestNumbersBelowOneAreAnError(t *testing.T) {
	exampletest.Start(t, "-workers", "0").Misused(`"0" for flag -workers: must be between 1 and 1000`)
}
