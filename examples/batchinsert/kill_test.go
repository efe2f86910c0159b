package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

// kills is the number of times that the process is killed.
const kills = 8

// A sender publishes readings, each with its number as identifier and temperature.
type sender struct {
	broker    *testBroker
	published int
}

func (s *sender) next() {
	s.broker.publish(fmt.Sprintf(`{"id": "%d", "celsius": %d}`, s.published, s.published))
	s.published++
}

// start publishes a reading every millisecond until stop is called.
func (s *sender) start() (stop func()) {
	var sending sync.WaitGroup
	quit := make(chan struct{})
	sending.Go(func() {
		ticks := time.NewTicker(time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				s.next()
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		sending.Wait()
	}
}

func TestAProcessKilledAtAnyMomentLosesNoReading(t *testing.T) {
	b := startBroker(t)
	file := filepath.Join(t.TempDir(), "readings.db")
	args := []string{"-broker", b.URL, "-db", file, "-batch", "50", "-wait", "10ms"}
	s := &sender{broker: b}
	interrupted := 0 // runs that were killed within a commit
	t.Setenv(commits, "slow")
	for range kills {
		p := exampletest.Start(t, args...)
		// mochi loses messages that are published while a session moves to a new connection.
		p.Expect(`^joined `)
		stop := s.start()
		for range 1 + rand.IntN(3) {
			p.Expect(`^committing$`)
		}
		<-time.After(rand.N(2 * slowness))
		out := p.Kill()
		if out[len(out)-1] == "committing" {
			interrupted++
		}
		<-time.After(rand.N(slowness)) // readings that the broker keeps for the next run
		stop()
	}
	t.Setenv(commits, "")
	p := exampletest.Start(t, args...)
	p.Expect(`^joined `)
	s.next()
	b.awaitAcks()
	exampletest.LastLine(t, p.Interrupt(), `^finished  \d+ received, 0 unacknowledged$`)

	rows := written(t, file)
	missing := 0
	for n := range s.published {
		if celsius, ok := rows[strconv.Itoa(n)]; !ok || celsius != float64(n) {
			missing++
		}
	}
	t.Logf("%d of %d kills hit a commit; %d readings", interrupted, kills, s.published)
	if missing > 0 {
		t.Errorf("the table lacks %d of %d acknowledged readings", missing, s.published)
	}
	if len(rows) > s.published {
		t.Errorf("the table has %d readings, %d were published", len(rows), s.published)
	}
}
