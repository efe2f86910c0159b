package stream_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestDrainDeliversArrivedMessages(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast), filterOf("b/#", exactly))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		sub := call.granted()
		ch := sub.Deliveries()
		c.Send(publish("a", "1", atLeast, 1, false))

		done := inBackground(func() error { return sub.Drain(t.Context()) })
		p := streamtest.Next[frames.Unsubscribe](c)
		if want := []string{"a", "b/#"}; !slices.Equal(p.Topics, want) {
			t.Fatalf("UNSUBSCRIBE for %q, want %q", p.Topics, want)
		}
		wantIdle(t, done)
		c.Send(publish("b/1", "2", exactly, 2, false)) // sent before the broker handles the UNSUBSCRIBE
		c.Send(unsuback(p), publish("b/1", "3", exactly, 3, false))
		one := takeFrom(t, ch)
		elapse(time.Second)
		wantIdle(t, done) // a message waits in the buffer
		two := takeFrom(t, ch)
		wantEnd(t, ch)
		began := time.Now()
		if err := <-done; err != nil || time.Since(began) > 5*time.Millisecond {
			t.Fatal(err, time.Since(began))
		}
		if err := sub.Err(); err != nil {
			t.Fatalf("Err is %v, want nil after Drain", err)
		}
		// Messages that arrive before the UNSUBACK are delivered, and their exchanges are completed
		// [MQTT-3.10.4-3]. A later message belongs to another filter.
		two.Ack()
		one.Ack()
		c.Expect(ack(puback, 1), ack(pubrec, 2))
		c.Send(ack(pubrel, 2))
		c.Expect(ack(pubcomp, 2))
		wantPayloads(t, s.Messages(), "3")
		c.Expect(ack(pubrec, 3))
		wantStat(t, s, "Subscribed", func(st stream.Stats) int { return st.Subscribed }, 0)
	})
}

func TestDrainWaitsForARangeLoop(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 5)...)
		synctest.Wait()
		done := inBackground(func() error { return sub.Drain(t.Context()) })
		c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
		began := time.Now()
		go func() {
			for range sub.All(context.Background()) {
				elapse(time.Second)
			}
		}()
		if err := <-done; err != nil || time.Since(began) != 5*time.Second {
			t.Fatal(err, time.Since(began))
		}
		c.Expect(ackRun(puback, 1, 5)...)
	})
}

// A Drain without a consumer ends with its context, and Unsubscribe or Close ends it too.
func TestDrainThatNobodyServesEnds(t *testing.T) {
	for name, end := range map[string]struct {
		how  func(s *stream.Session, sub *stream.Subscription, cancel func())
		want error
	}{
		"context":     {func(_ *stream.Session, _ *stream.Subscription, cancel func()) { cancel() }, context.Canceled},
		"Unsubscribe": {func(_ *stream.Session, sub *stream.Subscription, _ func()) { sub.Unsubscribe(context.Background()) }, nil},
		"Close":       {func(s *stream.Session, _ *stream.Subscription, _ func()) { s.Close() }, stream.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "a", atLeast)
				sub.Deliveries()
				c.Send(inboundRun("a", atLeast, 1, 5)...)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := inBackground(func() error { return sub.Drain(ctx) })
				c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
				elapse(time.Second)
				wantIdle(t, done)
				end.how(s, sub, cancel)
				if err := <-done; end.want == nil && err != nil {
					t.Fatal(err)
				} else if end.want != nil {
					wantError(t, err, end.want)
				}
			})
		})
	}
}
