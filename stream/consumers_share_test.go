package stream_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// allInto runs a consumer with All. It sends each payload to out and then calls body; the loop ends
// when body returns false.
func allInto(ctx context.Context, sub *stream.Subscription, out chan<- string, body func() bool) {
	for d, err := range sub.All(ctx) {
		if err != nil {
			return
		}
		out <- string(d.Payload)
		if !body() {
			return
		}
	}
}

// U-T. A consumer that leaves its loop, by break or by its context, passes the messages that it has
// taken on to a consumer that waits.
func TestAConsumerThatLeavesPassesItsMessagesOn(t *testing.T) {
	for _, way := range []string{"break", "context"} {
		t.Run(way, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "a", atMost)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				first, second := make(chan string, 10), make(chan string, 10)
				entered, leave := make(chan struct{}), make(chan struct{})
				go allInto(ctx, sub, first, func() bool {
					close(entered)
					<-leave
					return way == "context"
				})
				synctest.Wait()
				c.Send(inboundRun("a", atMost, 1, 3)...)
				<-entered
				go allInto(t.Context(), sub, second, func() bool { return true })
				synctest.Wait()
				if len(second) > 0 {
					t.Fatal("the second consumer has messages that the first has taken")
				}
				if way == "context" {
					cancel()
				}
				close(leave)
				for _, want := range []string{"2", "3"} {
					if got := takeFrom(t, second); got != want {
						t.Errorf("the second consumer got %q, want %q", got, want)
					}
				}
			})
		})
	}
}
