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

// A publisher yields the processor to collect more messages for its batch. On a busy machine each
// yield costs a time slice of every running goroutine, so the publisher must not yield at every
// publish.
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
	if median := took[len(took)/2]; median > 50*time.Millisecond { // 160 ms when the publisher yielded at every publish
		t.Errorf("a publish takes %v (median), %v at most", median, took[len(took)-1])
	}
}

// The session throttles reading so that consumers get processor time. It must not do so while a
// call waits for an ack. Here the consumer publishes each message that it receives, and waits for
// the ack.
func TestARestOfReadingHoldsUpNoAck(t *testing.T) {
	const n, large = 64, 64 << 10 // bytes; large enough to throttle reading
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
			t.Errorf("%d acks, each sent at once, took %v", n, d)
		}
	})
}
