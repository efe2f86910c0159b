package main

import (
	"path/filepath"
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestReadingsAreWrittenOnceUntilCtrlCAndNextStartAddsMore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "readings.db")
	for start := 1; start <= 2; start++ {
		// The broker publishes one more round than is expected only after an hour.
		p := exampletest.Start(t, "-db", file, "-every", "1h", "-batch", "101", "-wait", "1h")
		p.Expect(`^joined    readings-writer$`, `^committed 101 messages, 100 new$`)
		exampletest.LastLine(t, p.Interrupt(), `^finished  101 received, 0 unacknowledged$`)
		if n := len(written(t, file)); n != start*100 {
			t.Errorf("after start %d the table has %d readings, want %d", start, n, start*100)
		}
	}
}

func TestAMessageThatIsNoReadingIsRejectedAndHoldsUpNoOther(t *testing.T) {
	b := startBroker(t)
	file := filepath.Join(t.TempDir(), "readings.db")
	p := exampletest.Start(t, "-broker", b.URL, "-db", file, "-batch", "4", "-wait", "1h")
	p.Expect(`^joined `)
	for _, payload := range []string{`{"id": "a", "celsius": 1}`, `{"celsius": 2}`, `warm`, `{"id": "b", "celsius": 3}`} {
		b.publish(payload)
	}
	p.Expect(`^rejected  "{\\"celsius\\": 2}"$`, `^rejected  "warm"$`, `^committed 4 messages, 2 new$`)
	b.awaitAcks()
	exampletest.LastLine(t, p.Interrupt(), `^finished  4 received, 0 unacknowledged$`)
	if rows := written(t, file); len(rows) != 2 || rows["a"] != 1 || rows["b"] != 3 {
		t.Errorf("the table has %v", rows)
	}
}

func TestReadingsWhoseAcksAreLostComeAgainAndChangeNothing(t *testing.T) {
	b := startBroker(t)
	file := filepath.Join(t.TempDir(), "readings.db")
	for _, added := range []string{"2", "0"} {
		p := exampletest.Start(t, "-broker", b.URL, "-db", file, "-batch", "2", "-wait", "1h")
		b.acks.ignored.Store(added == "2")
		p.Expect(`^joined `)
		if added == "2" {
			b.publish(`{"id": "a", "celsius": 1}`)
			b.publish(`{"id": "b", "celsius": 2}`)
		}
		p.Expect(`^committed 2 messages, ` + added + ` new$`)
		p.Interrupt()
	}
	if rows := written(t, file); len(rows) != 2 || rows["a"] != 1 || rows["b"] != 2 {
		t.Errorf("the table has %v", rows)
	}
}

func TestABatchWhoseCommitFailsComesAgain(t *testing.T) {
	b := startBroker(t)
	file := filepath.Join(t.TempDir(), "readings.db")
	db, err := openTable(file)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	t.Setenv(commits, "fail")
	p := exampletest.Start(t, "-broker", b.URL, "-db", file)
	p.Expect(`^joined `)
	b.publish(`{"id": "a", "celsius": 1}`)
	p.Fail(`constraint`)
	if rows := written(t, file); len(rows) != 0 {
		t.Errorf("after the failed commit the table has %v", rows)
	}
	t.Setenv(commits, "")
	p = exampletest.Start(t, "-broker", b.URL, "-db", file)
	p.Expect(`^committed 1 messages, 1 new$`)
	p.Interrupt()
	if rows := written(t, file); len(rows) != 1 || rows["a"] != 1 {
		t.Errorf("the table has %v", rows)
	}
}

func TestADatabaseThatCannotBeOpenedIsAnError(t *testing.T) {
	exampletest.Start(t, "-db", filepath.Join(t.TempDir(), "missing", "readings.db")).Fail(`unable to open database file`)
}

func TestABatchSizeBelowOneIsAnError(t *testing.T) {
	exampletest.Start(t, "-db", filepath.Join(t.TempDir(), "readings.db"), "-batch", "0").Misused(`"0" for flag -batch: must be between 1 and 100000`)
}
