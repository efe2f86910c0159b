package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// The oldest fault report about MQTT clients is that the client reconnects but receives no more
// messages.
func TestCleanSessionRestoresItsSubscriptionsBeforeAnythingElse(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		call := callSubscribe(t.Context(), t, s, filterOf("a/+", exactly), filterOf("b/#", atMost))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		first := call.granted()
		second := subscribed(t, s, c, "c", atLeast)
		ch := first.Messages()

		c.Drop()
		lost(t, s)
		published := inBackground(func() error { return s.Publish(t.Context(), message("x", "queued", atLeast)) })
		c = b.Handshake(false)
		p, q := asked(t, c, filterOf("a/+", exactly), filterOf("b/#", atMost)), asked(t, c, filterOf("c", atLeast))
		out := streamtest.Next[frames.Publish](c)
		c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{1, 0}}, frames.Suback{ID: q.ID, Codes: []frames.ReasonCode{1}})
		c.Complete(out)
		if err := takeFrom(t, published); err != nil {
			t.Fatal(err)
		}
		c.Send(publish("a/1", "one", atLeast, 1, false), publish("c", "two", atLeast, 2, false))
		wantPayloads(t, ch, "one")
		wantPayloads(t, second.Messages(), "two")
		c.Expect(ackRun(puback, 1, 2)...)
		if got, want := first.Granted(), []frames.QoS{atLeast, atMost}; !slices.Equal(got, want) {
			t.Fatalf("granted %v, want %v as on the new connection", got, want)
		}
	})
}

func TestKeptSessionSubscribesBeforeItRetransmits(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		subscribed(t, s, c, "a", atLeast)
		published := inBackground(func() error { return s.Publish(t.Context(), message("x", "in flight", exactly)) })
		out := streamtest.Next[frames.Publish](c)
		c = droppedAndBack(t, s, b, c, false)
		p := asked(t, c, filterOf("a", atLeast))
		again := streamtest.Next[frames.Publish](c)
		if string(again.Payload) != string(out.Payload) {
			t.Fatalf("retransmitted: %v, want %v", again, out)
		}
		c.Grant(p)
		c.Complete(again)
		if err := takeFrom(t, published); err != nil {
			t.Fatal(err)
		}
	})
}

// U19: a broker that was restored from an older state has the session, but not all of its filters.
func TestResumedSessionSubscribesAgain(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast), filterOf("b", exactly))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		sub := call.granted()
		for range 3 {
			c = droppedAndBack(t, s, b, c, true)
			c.Grant(asked(t, c, filterOf("a", atLeast), filterOf("b", exactly)))
		}
		c.Send(publish("a", "x", atLeast, 1, false))
		wantPayloads(t, sub.Messages(), "x")
		c.Expect(ack(puback, 1))
	})
}

// U19: TrustSession is for those who must not see retained messages again.
func TestTrustedSessionDoesNotSubscribeAgain(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := keepingSession()
		o.TrustSession = true
		s, c := connected(t, b, o)
		sub := subscribed(t, s, c, "a", atLeast)
		c = droppedAndBack(t, s, b, c, true)
		synctest.Wait()
		c.ExpectNone()
		c.Send(publish("a", "x", atLeast, 1, false))
		wantPayloads(t, sub.Messages(), "x")
		c.Expect(ack(puback, 1))
		c = droppedAndBack(t, s, b, c, false) // there is nothing to trust
		c.Grant(asked(t, c, filterOf("a", atLeast)))
	})
}

// The filters that an earlier process was granted are not known to be there.
func TestTrustedSessionOfAnEarlierProcessIsAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := keepingSession()
		o.TrustSession = true
		s := open(t, b, o)
		c := b.Handshake(true)
		subscribed(t, s, c, "a", atLeast)
	})
}

// CONNACK of MQTT 3.1 has no session present flag, so the client always subscribes again.
func TestMQTT31AlwaysSubscribesAgain(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("KeepSession %v", keep), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{Version: frames.V31, ClientID: "k", KeepSession: keep, TrustSession: true})
				subscribed(t, s, c, "a", atLeast)
				for _, present := range []bool{false, true} { // 3.1 ignores the flag
					c = droppedAndBack(t, s, b, c, present)
					c.Grant(asked(t, c, filterOf("a", atLeast)))
				}
			})
		})
	}
}

// The connection may also be lost before the SUBACK for a restored filter. Then the client
// subscribes again on the next connection.
func TestSubscriptionIsRestoredAgainWhenItsSubackDidNotCome(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := keepingSession()
		o.TrustSession = true
		s, c := connected(t, b, o)
		sub := subscribed(t, s, c, "a", atLeast)
		c = droppedAndBack(t, s, b, c, false)
		asked(t, c, filterOf("a", atLeast)) // the broker does not answer
		c = droppedAndBack(t, s, b, c, true)
		c.Grant(asked(t, c, filterOf("a", atLeast)))
		c.Send(publish("a", "x", atLeast, 1, false))
		wantPayloads(t, sub.Messages(), "x")
		c.Expect(ack(puback, 1))
		c = droppedAndBack(t, s, b, c, true)
		synctest.Wait()
		c.ExpectNone()
	})
}

// A repeated UNSUBSCRIBE must not remove a filter that has been requested again since.
func TestFilterThatIsWantedAgainIsNotUnsubscribedByALateRepeat(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast), filterOf("b", atLeast))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		sub := call.granted()
		done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		streamtest.Next[frames.Unsubscribe](c) // not answered
		subscribed(t, s, c, "a", atLeast)
		c = droppedAndBack(t, s, b, c, true)
		c.Grant(asked(t, c, filterOf("a", atLeast)))
		unsubscribed(t, c, "b")
		if err := takeFrom(t, done); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSubscribeThatLostItsConnectionIsAskedAgain(t *testing.T) {
	for _, present := range []bool{false, true} {
		t.Run(fmt.Sprintf("session present %v", present), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, keepingSession())
				call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast))
				streamtest.Next[frames.Subscribe](c)
				c = droppedAndBack(t, s, b, c, present)
				call.pending()
				c.Grant(asked(t, c, filterOf("a", atLeast)))
				call.granted()
			})
		})
	}
}

func TestFilterRefusedAtRestoreEndsItsSubscriptionOnly(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var log logBook
		s, c := connected(t, b, &stream.Options{Logger: log.logger()})
		call := callSubscribe(t.Context(), t, s, filterOf("a", atLeast), filterOf("b", atLeast))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		gone, stays := call.granted(), subscribed(t, s, c, "c", atLeast)
		ch := gone.Messages()
		errs := make(chan error, 1)
		go func() {
			for _, err := range gone.All(context.Background()) {
				errs <- err
			}
		}()
		synctest.Wait()

		c = droppedAndBack(t, s, b, c, false)
		p := streamtest.Next[frames.Subscribe](c)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{1, frames.UnspecifiedError}})
		unsubscribed(t, c, "a")
		wantEnd(t, ch)
		var refused *stream.RefusedError
		for _, err := range []error{gone.Err(), takeFrom(t, errs)} {
			if !errors.As(err, &refused) || len(refused.Filters) != 1 || refused.Filters[0].Topic != "b" {
				t.Fatalf("the Subscription ended with %v", err)
			}
		}
		if n := log.count("not restored"); n != 1 {
			t.Fatalf("the failed restore was logged %d times:\n%s", n, log.text.String())
		}
		c.Send(publish("c", "goes on", atLeast, 3, false))
		wantPayloads(t, stays.Messages(), "goes on")
		if err := stays.Err(); err != nil {
			t.Fatalf("the other Subscription has ended: %v", err)
		}
		c.Expect(ack(puback, 3))
		c = droppedAndBack(t, s, b, c, false)
		c.Grant(asked(t, c, filterOf("c", atLeast)))
		if err := gone.Unsubscribe(t.Context()); err != nil {
			t.Fatalf("Unsubscribe of the ended Subscription: %v", err)
		}
	})
}
