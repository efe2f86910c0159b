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

// U11: messages that nobody has received do not hold back the acks of other Subscriptions.
func TestUnsubscribeAcksAndDropsUnreceivedMessages(t *testing.T) {
	for name, use := range map[string]func(sub *stream.Subscription){
		"no channel": func(*stream.Subscription) {},
		"Deliveries": func(sub *stream.Subscription) { sub.Deliveries() },
		"Messages":   func(sub *stream.Subscription) { sub.Messages() },
		"both":       func(sub *stream.Subscription) { sub.Messages(); sub.Deliveries() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub, other := subscribed(t, s, c, "a", exactly), subscribed(t, s, c, "b", atLeast)
				use(sub)
				c.Send(inboundRun("a", atLeast, 1, 600)...) // more than the buffer of Deliveries
				c.Send(publish("a", "qos 2", exactly, 601, false), publish("a", "qos 0", atMost, 0, false))
				c.Send(inboundRun("b", atLeast, 602, 1)...)
				synctest.Wait()
				c.ExpectNone()
				done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
				synctest.Wait()
				p, acks := unsubscribeAmongAcks(t, c)
				if len(acks) != 601 {
					t.Errorf("%d acks", len(acks))
				}
				wantEnd(t, sub.Deliveries())
				wantEnd(t, sub.Messages())
				wantIdle(t, done)
				c.Send(publish("a", "late", atLeast, 700, false), unsuback(p))
				if err := takeFrom(t, done); err != nil || sub.Err() != nil {
					t.Fatal(err, sub.Err())
				}
				wantStat(t, s, "Discarded", discarded, 603)
				wantStat(t, s, "Inbox", func(st stream.Stats) int { return st.Inbox }, 1)
				wantPayloads(t, other.Messages(), "602")
				c.Expect(ack(puback, 602), ack(puback, 700))
			})
		})
	}
}

// unsubscribeAmongAcks returns the packets that the client has sent: an UNSUBSCRIBE, and acks.
func unsubscribeAmongAcks(t *testing.T, c *streamtest.Conn) (p frames.Unsubscribe, acks []frames.Ack) {
	t.Helper()
	for p.ID == 0 || len(acks) < 601 {
		switch packet := streamtest.Next[frames.Packet](c).(type) {
		case frames.Unsubscribe:
			p = packet
		case frames.Ack:
			acks = append(acks, packet)
		default:
			t.Fatalf("got %v", packet.Type())
		}
	}
	return p, acks
}

// A range loop gets no further message after Unsubscribe, not even from the chunk that it holds.
func TestUnsubscribeEndsARangeLoopAtTheNextMessage(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 10)...)
		synctest.Wait()
		var got []string
		for d, err := range sub.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, string(d.Payload)); len(got) == 3 {
				done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
				c.Expect(ackRun(puback, 1, 2)...)
				c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
				if err := takeFrom(t, done); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !slices.Equal(got, countUp(1, 3)) {
			t.Fatalf("received %q", got)
		}
		c.Expect(ackRun(puback, 3, 8)...)
		wantStat(t, s, "Discarded", discarded, 7)
	})
}

// The copies that other Subscriptions have of a dropped message stay.
func TestUnsubscribeKeepsTheCopiesOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		one, two := subscribed(t, s, c, "a/+", atLeast), subscribed(t, s, c, "a/#", atLeast)
		c.Send(inboundRun("a/b", atLeast, 1, 5)...)
		synctest.Wait()
		done := inBackground(func() error { return one.Unsubscribe(t.Context()) })
		c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
		c.ExpectNone()
		wantPayloads(t, two.Messages(), countUp(1, 5)...)
		c.Expect(ackRun(puback, 1, 5)...)
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
		c.Unsuback(p)
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
		c.Grant(asked(t, c, filterOf("b", atLeast)))
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
		c.Unsuback(p) // a late UNSUBACK still ends the Subscription
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
		c.Unsuback(q)
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
