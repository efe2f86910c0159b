package main

import (
	"fmt"
	"testing"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestAWorkerAcksItsMessagesAtCtrlC(t *testing.T) {
	p := exampletest.Start(t)
	p.Expect(`^joined    worker-1$`, `^grind     sack 1 of worker-1$`, `^sift      sack 2 of worker-1$`)
	exampletest.LastLine(t, p.Interrupt(), `^finished  \d+ received, 0 unacknowledged$`)
}

func TestWorkersShareTheJobsUntilTheyLeave(t *testing.T) {
	broker, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	publish := func(from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			m := mqtt.Message{Topic: "jobs/grind", QoS: mqtt.AtLeastOnce, Payload: fmt.Appendf(nil, "sack %d", n)}
			if err := broker.Server.Publish(m.Topic, m.Payload, false, byte(m.QoS)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var workers []*exampletest.Program
	for _, id := range []string{"one", "two"} {
		p := exampletest.Start(t, "-broker", broker.URL, "-id", id, "-leave")
		p.Expect(`^joined    ` + id + `$`)
		workers = append(workers, p)
	}
	publish(0, 200)
	workers[0].Expect(`^grind     sack \d+ of one$`)
	workers[1].Expect(`^grind     sack \d+ of two$`)
	// Wait for all jobs: if a worker stops, no other worker gets the jobs in flight to it.
	exampletest.ExpectTogether(t, 200, `^grind `, workers...)
	seen := make(map[string]int)
	for _, line := range workers[0].Interrupt() {
		seen[sack(line)]++
	}
	publish(200, 300)
	workers[1].Expect(`^grind     sack 299 of two$`)
	for _, line := range workers[1].Interrupt() {
		seen[sack(line)]++
	}
	for n := range 300 {
		if times := seen[fmt.Sprint(n)]; times != 1 {
			t.Errorf("sack %d was ground %d times", n, times)
		}
	}
}

// sack returns the number of the sack in a line that a worker has printed.
func sack(line string) (n string) {
	fmt.Sscanf(line, "grind sack %s of", &n)
	return n
}
