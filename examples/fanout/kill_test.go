package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

const (
	kills  = 8
	topics = 20
)

// A sender publishes events, one topic after the other.
type sender struct {
	broker    *testBroker
	published int
}

func (s *sender) next() {
	s.broker.publish(fmt.Sprintf("machine/%d/event", s.published%topics), fmt.Sprintf(`{"number": %d}`, s.published/topics))
	s.published++
}

// start publishes events until stop is called.
func (s *sender) start() (stop func()) {
	var sending sync.WaitGroup
	quit := make(chan struct{})
	sending.Go(func() {
		ticks := time.NewTicker(time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				for range 5 {
					s.next()
				}
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

var committed = regexp.MustCompile(`^committed (\d+) messages, (\d+) new, `)

func TestAProcessKilledAtAnyMomentLosesNoEventAndKeepsTheOrderOfEachTopic(t *testing.T) {
	b := startBroker(t)
	file := filepath.Join(t.TempDir(), "events.db")
	args := []string{"-broker", b.URL, "-db", file, "-batch", "20"}
	s := &sender{broker: b}
	again := 0 // messages that the table had
	for range kills {
		p := exampletest.Start(t, args...)
		// mochi loses messages that are published while a session moves to a new connection.
		p.Expect(`^joined `)
		stop := s.start()
		for range 1 + rand.IntN(20) {
			p.Expect(`^committed `)
		}
		<-time.After(rand.N(5 * time.Millisecond))
		again += repeated(p.Kill())
		b.awaitGone()
		<-time.After(rand.N(20 * time.Millisecond)) // events that the broker keeps for the next run
		stop()
	}
	p := exampletest.Start(t, args...)
	p.Expect(`^joined `)
	b.awaitAcks()
	out := p.Interrupt()
	exampletest.LastLine(t, out, `^finished  \d+ received, 0 unacknowledged$`)
	t.Logf("%d events, %d were sent again after their commit", s.published, again+repeated(out))

	rows := written(t, file)
	for i := range topics {
		topic := fmt.Sprintf("machine/%d/event", i)
		for place, number := range rows[topic] {
			if number != place {
				t.Fatalf("%s: event %d is at place %d", topic, number, place)
			}
		}
		if want := (s.published + topics - 1 - i) / topics; len(rows[topic]) != want {
			t.Errorf("%s: %d events, want %d", topic, len(rows[topic]), want)
		}
	}
}

// repeated returns the number of messages in the commits of out that the table already had.
func repeated(out []string) (n int) {
	for _, line := range out {
		if m := committed.FindStringSubmatch(line); m != nil {
			var all, added int
			fmt.Sscan(m[1]+" "+m[2], &all, &added)
			n += all - added
		}
	}
	return n
}
