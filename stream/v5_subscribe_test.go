package stream_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// identified subscribes s to a filter, and returns the identifier of the SUBSCRIBE.
func identified(t *testing.T, s *stream.Session, c *streamtest.Conn, f frames.Filter) (*stream.Subscription, uint32) {
	t.Helper()
	call := callSubscribe(t.Context(), t, s, f)
	p := streamtest.Next[frames.Subscribe](c)
	c.Grant(p)
	<-call.done
	wantError(t, call.err, nil)
	return call.sub, p.Identifier
}

// copyFor returns a PUBLISH at QoS 1 with subscription identifiers.
func copyFor(topic, payload string, id uint16, subscriptions ...uint32) frames.Publish {
	p := publish(topic, payload, 1, id, false)
	if subscriptions != nil {
		p.Properties = &frames.Properties{Subscriptions: subscriptions}
	}
	return p
}

// V64. Of two Subscriptions whose filters match, each gets the message once: from one copy with
// both identifiers, from two copies with one each, and from one without. Each copy has one ack.
func TestOverlappingSubscriptionsGetEachMessageOnce(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		one, first := identified(t, s, c, filterOf("a/#", 1))
		two, second := identified(t, s, c, filterOf("a/+", 1))
		if first == 0 || second == 0 || first == second {
			t.Fatalf("identifiers %d and %d", first, second)
		}
		for name, copies := range map[string][]frames.Packet{
			"one copy":   {copyFor("a/b", "x", 1, first, second)},
			"two copies": {copyFor("a/b", "x", 1, first), copyFor("a/b", "x", 2, second)},
			"retained":   {copyFor("a/b", "x", 1)},
		} {
			c.Send(copies...)
			d1, d2 := wantDelivery(t, one.Deliveries(), "a/b", "x"), wantDelivery(t, two.Deliveries(), "a/b", "x")
			wantNoDelivery(t, one.Deliveries())
			wantNoDelivery(t, two.Deliveries())
			if len(copies) == 1 {
				d1.Ack()
				synctest.Wait()
				c.ExpectNone()
				d2.Ack()
				c.Expect(ack(puback, 1))
				continue
			}
			d1.Ack()
			c.Expect(ack(puback, 1))
			if d2.Ack(); d1.ID != 1 || d2.ID != 2 {
				t.Errorf("%s: identifiers %d and %d", name, d1.ID, d2.ID)
			}
			c.Expect(ack(puback, 2))
		}
	})
}

// V65. Two Subscriptions with the same filter are one subscription for the broker. The identifier
// of the last SUBSCRIBE stands for both.
func TestOneIdentifierStandsForTheSameFilterTwice(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		one, _ := identified(t, s, c, filterOf("a/b", 1))
		two, last := identified(t, s, c, filterOf("a/b", 1))
		other, third := identified(t, s, c, filterOf("a/#", 1))
		c.Send(copyFor("a/b", "same", 1, last), copyFor("a/b", "other", 2, third))
		wantDelivery(t, one.Deliveries(), "a/b", "same")
		wantDelivery(t, two.Deliveries(), "a/b", "same")
		wantDelivery(t, other.Deliveries(), "a/b", "other")
		for _, sub := range []*stream.Subscription{one, two, other} {
			wantNoDelivery(t, sub.Deliveries())
		}
	})
}

// V66. A message with the identifier of a Subscription that has ended, or of another process, goes
// to those whose filters match, and else is unclaimed.
func TestAnUnknownIdentifierIsIgnored(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		gone, old := identified(t, s, c, filterOf("a/+", 1))
		one, _ := identified(t, s, c, filterOf("a/#", 1))
		two, _ := identified(t, s, c, filterOf("a/b", 1))
		left := inBackground(func() error { return gone.Unsubscribe(t.Context()) })
		c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
		wantError(t, <-left, nil)
		for _, id := range []uint32{old, old%268435455 + 1000} {
			c.Send(copyFor("a/b", "x", 1, id), copyFor("z", "unclaimed", 2, id))
			wantDelivery(t, one.Deliveries(), "a/b", "x").Ack()
			wantDelivery(t, two.Deliveries(), "a/b", "x").Ack()
			c.Expect(ack(puback, 1))
			wantDelivery(t, s.Deliveries(), "z", "unclaimed").Ack()
			c.Expect(ack(puback, 2))
		}
	})
}

// V67. Options that a filter cannot have are refused at the call, and nothing is sent.
func TestAFilterWithBadOptionsIsRefusedAtTheCall(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		for _, f := range []frames.Filter{
			{Topic: "$share/g/a", NoLocal: true},
			{Topic: "a", RetainHandling: 3},
			{Topic: "a", QoS: 3},
		} {
			_, err := s.Subscribe(t.Context(), f)
			if !errors.As(err, new(*frames.InvalidError)) {
				t.Errorf("Subscribe %+v: %v", f, err)
			}
			if _, err = s.Declare(f); !errors.As(err, new(*frames.InvalidError)) {
				t.Errorf("Declare %+v: %v", f, err)
			}
		}
		synctest.Wait()
		c.ExpectNone()
	})
}

// V68. Each code of SUBACK from 0x80 is a refusal, and the error has it with the reason. A code
// that is neither a QoS nor a refusal ends the connection.
func TestARefusedFilterHasItsCode(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		for _, code := range []frames.ReasonCode{0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2, 0xC3} {
			call := callSubscribe(t.Context(), t, s, filterOf("a", 1), filterOf("b", 1))
			p := streamtest.Next[frames.Subscribe](c)
			c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{1, code}, Properties: &frames.AckProperties{Reason: "no"}})
			q := streamtest.Next[frames.Unsubscribe](c)
			c.Unsuback(q)
			<-call.done
			var refused *stream.RefusedError
			if !errors.As(call.err, &refused) || len(refused.Codes) != 1 || refused.Codes[0] != code ||
				refused.Filters[0].Topic != "b" || refused.Reason != "no" || refused.Cause != nil || q.Topics[0] != "a" {
				t.Errorf("%#x: %v", byte(code), call.err)
			}
			wantError(t, call.err, code)
		}
	})
	for _, code := range []frames.ReasonCode{0x03, 0x7F} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := welcomed(t, b, stream.Options{}, nil)
			call := callSubscribe(t.Context(), t, s, filterOf("a", 1))
			p := streamtest.Next[frames.Subscribe](c)
			c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{code}})
			c.ExpectDisconnectCode(frames.ProtocolViolation)
			c = b.Handshake(false)
			c.Grant(streamtest.Next[frames.Subscribe](c))
			<-call.done
			wantError(t, call.err, nil)
		})
	}
}

// V69. UNSUBACK with a refusal is the error of Unsubscribe. A code below 0x80 that UNSUBACK does
// not have, and too few codes, end the connection.
func TestTheCodesOfUnsuback(t *testing.T) {
	for _, code := range []frames.ReasonCode{frames.Success, frames.NoSubscriptionExisted, frames.NotAuthorized, 0xC3} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := welcomed(t, b, stream.Options{}, nil)
			sub, _ := identified(t, s, c, filterOf("a", 1))
			left := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
			p := streamtest.Next[frames.Unsubscribe](c)
			c.Send(frames.Unsuback{ID: p.ID, Codes: []frames.ReasonCode{code}})
			err := <-left
			if code < 0x80 {
				wantError(t, err, nil)
			} else {
				wantError(t, err, code)
			}
		})
	}
	for _, code := range []frames.ReasonCode{0x01, frames.NoMatchingSubscribers, 0x7F} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := welcomed(t, b, stream.Options{}, nil)
			sub, _ := identified(t, s, c, filterOf("a", 1))
			left := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
			p := streamtest.Next[frames.Unsubscribe](c)
			c.Send(frames.Unsuback{ID: p.ID, Codes: []frames.ReasonCode{code}})
			c.ExpectDisconnectCode(frames.ProtocolViolation)
			wantViolation(t, lost(t, s), "reserved code")
			wantError(t, <-left, nil) // a clean session has no filters without its connection
		})
	}
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		call := callSubscribe(t.Context(), t, s, filterOf("a", 1), filterOf("b", 1))
		c.Grant(streamtest.Next[frames.Subscribe](c))
		<-call.done
		left := inBackground(func() error { return call.sub.Unsubscribe(t.Context()) })
		p := streamtest.Next[frames.Unsubscribe](c)
		c.Send(frames.Unsuback{ID: p.ID, Codes: []frames.ReasonCode{0}})
		c.ExpectDisconnectCode(frames.ProtocolViolation)
		wantViolation(t, lost(t, s), "1 reason codes for 2 filters")
		wantError(t, <-left, nil)
	})
}

// V70. The options of a filter are those of the call, also when it is asked for again after the
// session was lost.
func TestTheOptionsOfAFilterAreAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k"}, nil)
		f := frames.Filter{Topic: "a", QoS: 1, NoLocal: true, RetainAsPublished: true, RetainHandling: frames.SendRetainedIfNew}
		_, id := identified(t, s, c, f)
		for _, present := range []bool{false, true} {
			c.Drop()
			c, _ = greeted(t, b, s, present, nil)
			p := streamtest.Next[frames.Subscribe](c)
			if len(p.Filters) != 1 || p.Filters[0] != f || p.Identifier != id {
				t.Errorf("session present %t: SUBSCRIBE %+v", present, p)
			}
			c.Grant(p)
		}
	})
}

// V31. A filter that was granted, and that the broker of a later connection does not support, ends
// its Subscription with the reason. The others stay.
func TestAFilterThatTheNextBrokerDoesNotSupportEndsItsSubscription(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		wild, _ := identified(t, s, c, filterOf("a/#", 1))
		plain, _ := identified(t, s, c, filterOf("a/b", 1))
		c.Drop()
		c, _ = greeted(t, b, s, false, &frames.ConnackProperties{NoWildcards: true})
		p := streamtest.Next[frames.Subscribe](c)
		if len(p.Filters) != 1 || p.Filters[0].Topic != "a/b" {
			t.Errorf("SUBSCRIBE %+v", p)
		}
		c.Grant(p)
		wantEnd(t, wild.Deliveries())
		wantError(t, wild.Err(), frames.WildcardSubscriptionsNotSupported)
		c.Send(publish("a/b", "x", 0, 0, false))
		wantDelivery(t, plain.Deliveries(), "a/b", "x")
	})
}

// V71. The retain flag is delivered as it comes, with and without RetainAsPublished.
func TestTheRetainFlagIsDeliveredAsItComes(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, nil)
		for _, asPublished := range []bool{false, true} {
			sub, _ := identified(t, s, c, frames.Filter{Topic: "a", RetainAsPublished: asPublished})
			for _, retain := range []bool{false, true} {
				p := publish("a", "x", 0, 0, false)
				p.Retain = retain
				c.Send(p)
				if d := wantDelivery(t, sub.Deliveries(), "a", "x"); d.Retain != retain {
					t.Errorf("retain is %t, sent %t", d.Retain, retain)
				}
			}
		}
	})
}
