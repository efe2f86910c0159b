package stream_test

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// Waiting for more to publish yields the processor. Where all are busy a yield
// takes a time slice of each goroutine that runs, and must not be paid each time.
func TestPublishingIsQuickOnABusyMachine(t *testing.T) {
	b := streamtest.New(t)
	b.Respond(new(streamtest.Responder))
	s := open(t, b, nil)
	<-s.Online()

	var begun, busy sync.WaitGroup
	var stop atomic.Bool
	for range 4 * runtime.GOMAXPROCS(0) {
		begun.Add(1)
		busy.Go(func() {
			begun.Done()
			for !stop.Load() {
			}
		})
	}
	begun.Wait()
	var took []time.Duration
	for range 15 {
		begin := time.Now()
		if err := s.Publish(t.Context(), message("t", "x", atMost)); err != nil {
			t.Error(err)
		}
		took = append(took, time.Since(begin))
	}
	stop.Store(true)
	busy.Wait()
	slices.Sort(took)
	if median := took[len(took)/2]; median > 50*time.Millisecond { // it was 160
		t.Errorf("a publish takes %v, at most %v", median, took[len(took)-1])
	}
}

// Reading rests for those who take messages, not from those who wait for an ack:
// a consumer that publishes what it takes, and waits.
func TestARestOfReadingHoldsUpNoAck(t *testing.T) {
	const n, large = 64, 64 << 10 // bytes: they crowd the inbox
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: noPing})
		sub := subscribed(t, s, c, "a", atMost)
		for range n {
			c.Send(publish("a", strings.Repeat("x", large), atMost, 0, false))
		}
		go func() {
			for range n {
				c.Send(ack(puback, streamtest.Next[frames.Publish](c).ID))
			}
		}()
		begin, left := time.Now(), n
		for _, err := range sub.All(t.Context()) {
			if err == nil {
				err = s.Publish(t.Context(), message("b", "x", atLeast))
			}
			if err != nil {
				t.Fatal(err)
			}
			if left--; left == 0 {
				break
			}
		}
		if d := time.Since(begin); d > 0 {
			t.Errorf("%d acks that came at once took %v", n, d)
		}
	})
}
