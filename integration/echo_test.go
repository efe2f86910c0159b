package integration

import (
	"flag"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/go-millrace/mqtt"
)

var echoes = flag.Int("echoes", 500, "messages in each run of the echo test")

// A program that publishes inside its receive loop and waits there for the ack never deadlocks. The
// test does this at each QoS, with one loop and with many loops.
func TestPublishingFromInsideTheReceiveLoop(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withVersions(t, heavy(), setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
			n := *echoes
			slow := mqtt.OptionsV5{ReceiveMaximum: backlogMaximum}
			caller := dial(t, b.url, mqtt.Options{Version: v, ClientID: "caller", Window: 100, V5: slow})
			echo := dial(t, b.url, mqtt.Options{Version: v, ClientID: "echo", Window: window, V5: slow})
			ctx := t.Context()
			for _, q := range levels[1:] {
				there, back := fmt.Sprintf("there/%d", q), fmt.Sprintf("back/%d", q)
				calls := subscribe(t, echo, mqtt.Filter{Topic: there, QoS: q})
				echoed := subscribe(t, caller, mqtt.Filter{Topic: back, QoS: q})
				var loops sync.WaitGroup
				for range window {
					loops.Go(func() {
						for d := range calls.Deliveries() {
							if err := echo.Publish(ctx, mqtt.Message{Topic: back, Payload: d.Payload, QoS: q}); err != nil {
								t.Error(err)
							}
							d.Ack()
						}
					})
				}
				in := make(chan mqtt.Message)
				open := make(chan struct{}, 10_000) // limits the calls without an echo, since mochi drops messages beyond its limit
				loops.Go(func() {
					for r := range caller.PublishFrom(ctx, in) {
						if r.Err != nil {
							t.Error(r.Err)
						}
					}
				})
				loops.Go(func() {
					defer close(in)
					for i := range n {
						open <- struct{}{}
						in <- text(there, strconv.Itoa(i), q)
					}
				})
				seen := make(map[string]bool)
				for i := range n {
					m := next(t, echoed.Messages())
					<-open
					if want := strconv.Itoa(i); window == 1 && string(m.Payload) != want {
						t.Fatalf("got %s, want %s", m.Payload, want)
					}
					seen[string(m.Payload)] = true
				}
				if len(seen) != n {
					t.Errorf("got %d different echoes of %d messages", len(seen), n)
				}
				for _, sub := range []*mqtt.Subscription{calls, echoed} {
					if err := sub.Unsubscribe(within(t)); err != nil {
						t.Fatal(err)
					}
				}
				loops.Wait()
			}
		})
	})
}
