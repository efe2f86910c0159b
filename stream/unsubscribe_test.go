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

func TestUnsubscribeWaitsForTheUnsuback(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast), filterOf("b/#", exactly))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		sub := call.granted()
		ch := sub.Deliveries()
		c.Send(publish("a", "1", atLeast, 1, false))

		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		p := streamtest.Next[frames.Unsubscribe](c)
		if want := []string{"a", "b/#"}; !slices.Equal(p.Topics, want) {
			t.Fatalf("UNSUBSCRIBE for %q, want %q", p.Topics, want)
		}
		wantIdle(t, done)
		c.Send(publish("b/1", "2", exactly, 2, false)) // sent before the broker handles the UNSUBSCRIBE
		c.Send(ack(unsuback, p.ID), publish("b/1", "3", exactly, 3, false))
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
		one, two := takeFrom(t, ch), takeFrom(t, ch)
		wantEnd(t, ch)
		if err := sub.Err(); err != nil {
			t.Fatalf("Err is %v, want nil after Unsubscribe", err)
		}
		// Messages that arrive before the UNSUBACK are delivered, and their exchanges are completed
		// [MQTT-3.10.4-3].
		two.Ack()
		one.Ack()
		c.Expect(ack(puback, 1), ack(pubrec, 2), ack(pubrec, 3))
		c.Send(ack(pubrel, 2), ack(pubrel, 3))
		c.Expect(ack(pubcomp, 2), ack(pubcomp, 3))
		wantStat(t, s, "Subscribed", func(st stream.Stats) int { return st.Subscribed }, 0)
	})
}

func TestUnsubscribeIsIdempotent(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		one := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		p := streamtest.Next[frames.Unsubscribe](c)
		two := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		wantIdle(t, one)
		wantIdle(t, two)
		c.ExpectNone()
		c.Send(ack(unsuback, p.ID))
		for _, err := range []error{takeFrom(t, one), takeFrom(t, two), sub.Unsubscribe(t.Context())} {
			if err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		c.ExpectNone()
		s.Close()
		wantError(t, sub.Unsubscribe(t.Context()), stream.ErrClosed)
	})
}

func TestUnsubscribeOfACleanSessionOfflineReturnsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Messages()
		c.Drop()
		lost(t, s)
		began := time.Now()
		if err := sub.Unsubscribe(t.Context()); err != nil || time.Since(began) != 0 {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		wantEnd(t, ch)
		c = b.Handshake(false)
		synctest.Wait()
		c.ExpectNone()
	})
}

func TestUnsubscribeOfAKeptSessionOfflineIsSentByTheNextConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		sub, stays := subscribed(t, s, c, "a", atLeast), subscribed(t, s, c, "b", atLeast)
		c.Drop()
		lost(t, s)
		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		wantIdle(t, done)
		c = b.Handshake(true)
		unsubscribed(t, c, "a")
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, sub.Messages())
		wantIdle(t, stays.Messages())
	})
}

func TestUnsubscribeNeedsNoPacketWhenTheKeptSessionIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		sub := subscribed(t, s, c, "a", atLeast)
		c.Drop()
		lost(t, s)
		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		c = b.Handshake(false)
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.ExpectNone()
	})
}

func TestUnsubscribeThatLostItsConnectionIsSentAgain(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		sub := subscribed(t, s, c, "a", atLeast)
		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		streamtest.Next[frames.Unsubscribe](c)
		c = droppedAndBack(t, s, b, c, true)
		wantIdle(t, done)
		unsubscribed(t, c, "a")
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
	})
}

// T1: the broker sends UNSUBACK late or never.
func TestUnsubscribeThatIsNeverAnsweredEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		wantError(t, sub.Unsubscribe(ctx), context.DeadlineExceeded)
		p := streamtest.Next[frames.Unsubscribe](c)
		c.Send(ack(unsuback, p.ID)) // a late UNSUBACK still ends the Subscription
		wantEnd(t, sub.Messages())
		wantStat(t, s, "Connections", func(st stream.Stats) uint64 { return st.Connections }, 1)
	})
}

func TestUnsubscribeWhileTheSubscriptionIsBeingRestored(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c = droppedAndBack(t, s, b, c, false)
		p := asked(t, c, filterOf("a", atLeast))
		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		q := streamtest.Next[frames.Unsubscribe](c)
		c.Grant(p)
		wantIdle(t, done)
		c.Send(ack(unsuback, q.ID))
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, sub.Messages())
	})
}

func TestUnsubscribeWhileTheConnectionEndsIsNotLeftWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		streamtest.Next[frames.Unsubscribe](c)
		c.Abort()
		if err := takeFrom(t, done); err != nil { // the filter ended with the clean session
			t.Fatal(err)
		}
		c = b.Handshake(false)
		synctest.Wait()
		c.ExpectNone()
	})
}

func TestCloseEndsUnsubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		sub := subscribed(t, s, c, "a", atLeast)
		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		streamtest.Next[frames.Unsubscribe](c)
		s.Close()
		wantError(t, takeFrom(t, done), stream.ErrClosed) // an error, because the broker may still have the subscription
		wantEnd(t, sub.Messages())
	})
}

func TestSubscribeAgainAfterUnsubscribeReceives(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		for i := range 3 {
			sub := subscribed(t, s, c, "a", atLeast)
			c.Send(inboundRun("a", atLeast, i+1, 1)...)
			wantPayloads(t, sub.Messages(), countUp(i+1, 1)...)
			c.Expect(ack(puback, uint16(i+1)))
			done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
			unsubscribed(t, c, "a")
			if err := takeFrom(t, done); err != nil {
				t.Fatal(err)
			}
		}
	})
}
