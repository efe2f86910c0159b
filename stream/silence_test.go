package stream_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// U30
func TestAFailedPublicationWithoutAnAckChannelIsLoggedAndCounted(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var log logBook
		s, c := connected(t, b, &stream.Options{Logger: log.logger(), Queue: 10})
		unreported := func(st stream.Stats) uint64 { return st.Unreported }
		s.Publishes() <- stream.Publishing{Message: message("bad/#", "", atLeast)}
		wantStat(t, s, "Unreported", unreported, 1)
		if log.count("level=WARN") != 1 || log.count("topic=bad/#") != 1 {
			t.Fatal(log.text.String())
		}
		acks := make(chan stream.Receipt, 1)
		s.Publishes() <- stream.Publishing{Message: message("bad/#", "", atLeast), Ack: acks}
		for range 6 {
			s.Publishes() <- stream.Publishing{Message: message("a", "", atLeast)}
		}
		streamtest.Next[frames.Publish](c)
		s.Close() // all six fail
		wantStat(t, s, "Unreported", unreported, 7)
		if n := log.count("nobody is told"); n != 3 || !strings.Contains(log.text.String(), "count=4") {
			t.Fatalf("%d records:\n%s", n, log.text.String())
		}
	})
}

func TestAQueueBehindAWindowOfOneIsLoggedOnce(t *testing.T) {
	for window, want := range map[int]int{1: 1, 2: 0} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			var log logBook
			s, c := connected(t, b, &stream.Options{Logger: log.logger(), Window: window})
			for range 2 {
				for range 50 {
					s.Publishes() <- stream.Publishing{Message: message("a", "", atLeast)}
				}
				synctest.Wait()
				for s.Stats().InFlight > 0 {
					c.Send(ack(puback, streamtest.Next[frames.Publish](c).ID))
					synctest.Wait()
				}
			}
			if n := log.count("behind a Window of 1"); n != want {
				t.Errorf("window %d: %d records:\n%s", window, n, log.text.String())
			}
		})
	}
}
