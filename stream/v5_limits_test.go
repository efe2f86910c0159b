package stream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func largest(n uint32) *frames.ConnackProperties { return &frames.ConnackProperties{MaximumPacket: n} }

func highest(q frames.QoS) *frames.ConnackProperties {
	return &frames.ConnackProperties{MaximumQoS: &q}
}

func wantLimit(t *testing.T, err error, field string, value, limit int) {
	t.Helper()
	var l *stream.LimitError
	if !errors.As(err, &l) || *l != (stream.LimitError{Field: field, Value: value, Limit: limit}) {
		t.Fatalf("error is %v, want a LimitError of %s %d over %d", err, field, value, limit)
	}
}

// V26, V29, V30. A new publication beyond a limit of the broker ends, and no byte of it is sent.
// One at the limit goes out.
func TestAPublicationBeyondALimitIsNotSent(t *testing.T) {
	retained := message("a", "r", 0)
	retained.Retain = true
	for name, c := range map[string]struct {
		announced    *frames.ConnackProperties
		over, within frames.Message
		field        string
		value, limit int
	}{
		"packet size":  {largest(20), message("a", strings.Repeat("x", 13), 1), message("a", strings.Repeat("x", 12), 1), "packet size", 21, 20},
		"QoS 2":        {highest(1), message("a", "x", 2), message("a", "x", 1), "QoS", 2, 1},
		"QoS 1":        {highest(0), message("a", "x", 1), message("a", "x", 0), "QoS", 1, 0},
		"retain":       {&frames.ConnackProperties{NoRetain: true}, retained, message("a", "r", 0), "retain", 1, 0},
		"QoS 0 packet": {largest(20), message("a", strings.Repeat("x", 15), 0), message("a", strings.Repeat("x", 14), 0), "packet size", 21, 20},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, conn := welcomed(t, b, stream.Options{}, c.announced)
				err := s.Publish(context.Background(), c.over)
				wantError(t, err, stream.ErrNotSent)
				wantLimit(t, err, c.field, c.value, c.limit)
				done := goPublish(s, c.within)
				p := streamtest.Next[frames.Publish](conn)
				if string(p.Payload) != string(c.within.Payload) {
					t.Fatalf("sent %+v", p)
				}
				conn.Complete(p)
				wantError(t, <-done, nil)
			})
		})
	}
}

// V26, V29. A publication that was sent before ends with ErrUnconfirmed: after a resume, after the
// broker has lost the session, and in the next process. Its identifier and place are free, and the
// Store forgets it.
func TestAPublicationInFlightBeyondALimitEndsUnconfirmed(t *testing.T) {
	for name, present := range map[string]bool{"resumed": true, "lost": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				acks := make(chan stream.Receipt, 4)
				store := flow.NewMemoryStore()
				s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k", Store: store, Window: 2, Ack: acks}, nil)
				big := strings.Repeat("x", 50)
				sendAll(s, message("a", big, 1), message("a", "qos2", 2), message("a", "small", 1), message("a", big, 1))
				c.Expect(publish("a", big, 1, 1, false), publish("a", "qos2", 2, 2, false))
				c.Drop()
				limits := highest(1)
				limits.MaximumPacket = 20
				c, _ = greeted(t, b, s, present, limits)
				r := wantReceipt(t, acks, nil, stream.ErrUnconfirmed)
				wantLimit(t, r.Err, "packet size", 58, 20)
				r = wantReceipt(t, acks, nil, stream.ErrUnconfirmed)
				wantLimit(t, r.Err, "QoS", 2, 1)
				r = wantReceipt(t, acks, nil, stream.ErrNotSent)
				wantLimit(t, r.Err, "packet size", 58, 20)
				p := streamtest.Next[frames.Publish](c)
				if string(p.Payload) != "small" || p.DUP {
					t.Fatalf("sent %+v", p)
				}
				c.Complete(p)
				wantReceipt(t, acks, nil)
				synctest.Wait()
				c.ExpectNone()
				go s.Close()
				c.Rest()
				<-s.Done()
				if snap, _ := store.Attach("k"); len(snap.Publications) != 0 {
					t.Errorf("the Store has %+v", snap.Publications)
				}
			})
		})
	}
}

// V26. A publication in flight that a Store has kept for another process ends with ErrUnconfirmed.
func TestAStoredPublicationBeyondALimitEndsUnconfirmed(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 2)
		store := flow.NewMemoryStore()
		_, err := store.Attach("k")
		if err != nil {
			t.Fatal(err)
		}
		m := message("a", strings.Repeat("x", 30), 1)
		store.Commit([]flow.Change{{Kind: flow.Accepted, Seq: 1, Message: m}, {Kind: flow.Assigned, Seq: 1, ID: 7},
			{Kind: flow.Accepted, Seq: 2, Message: m}})
		store.Detach()
		s := open(t, b, five(stream.Options{KeepSession: true, ClientID: "k", Store: store, Ack: acks}))
		greeted(t, b, s, true, largest(20))
		wantLimit(t, wantReceipt(t, acks, nil, stream.ErrUnconfirmed).Err, "packet size", 38, 20)
		wantLimit(t, wantReceipt(t, acks, nil, stream.ErrNotSent).Err, "packet size", 38, 20)
		wantError(t, s.Sync(t.Context()), nil)
		s.Close()
		if snap, _ := store.Attach("k"); len(snap.Publications) != 0 {
			t.Errorf("the Store has %+v", snap.Publications)
		}
	})
}

// The size of a packet is judged as it is sent: with the expiry of the options, and without the
// subscription identifiers of a message that is passed on.
func TestThePacketSizeIsThatOfThePropertiesSent(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{V5: stream.OptionsV5{Expiry: time.Minute}}, largest(20))
		err := s.Publish(context.Background(), message("a", "12345678", 1)) // 21 bytes with the expiry, 16 without
		wantError(t, err, stream.ErrNotSent)
		wantLimit(t, err, "packet size", 21, 20)
		done := goPublish(s, message("a", "1234567", 1))
		p := streamtest.Next[frames.Publish](c)
		if p.Properties == nil || p.Properties.Expiry != time.Minute {
			t.Fatalf("sent %+v", p)
		}
		c.Complete(p)
		wantError(t, <-done, nil)
	})
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, largest(20))
		m := message("a", "123456789012", 1) // 20 bytes without the identifiers
		m.Properties = &frames.Properties{Subscriptions: []uint32{1, 2, 3}}
		done := goPublish(s, m)
		c.Expect(publish("a", "123456789012", 1, 1, false))
		c.Send(ack(puback, 1))
		wantError(t, <-done, nil)
	})
}

// Messages beyond a limit in a run of PublishFrom end at their places, and the others go out in
// order.
func TestMessagesOfARunBeyondALimitEndAtTheirPlaces(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{Window: 100}, largest(20))
		in := make(chan frames.Message, 100)
		for n := range 100 {
			m := numbered(n, 0)
			if n%7 == 0 {
				m.Properties = &frames.Properties{ContentType: "a long content type"}
			} else if n%5 == 0 {
				m.Topic = strings.Repeat("t", 20)
			}
			in <- m
		}
		close(in)
		out := s.PublishFrom(t.Context(), in)
		for n := range 100 {
			if n%7 == 0 || n%5 == 0 {
				r := wantStagedError(t, out, n, stream.ErrNotSent)
				if !errors.As(r.Err, new(*stream.LimitError)) {
					t.Fatalf("number %d: %v", n, r.Err)
				}
				continue
			}
			c.Expect(frames.Publish{Message: numbered(n, 0)})
			wantStaged(t, out, n, n+1)
		}
	})
}

// LowerQoS sends at the QoS that the broker takes, and the Receipt says so.
func TestLowerQoSSendsAtTheQoSOfTheBroker(t *testing.T) {
	for _, q := range []frames.QoS{0, 1} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := welcomed(t, b, stream.Options{V5: stream.OptionsV5{LowerQoS: true}}, highest(q))
			done := goPublish(s, message("a", "x", 2))
			p := streamtest.Next[frames.Publish](c)
			if p.QoS != q {
				t.Fatalf("sent at QoS %d", p.QoS)
			}
			c.Complete(p)
			var lowered *stream.DowngradedError
			if err := <-done; !errors.As(err, &lowered) || lowered.QoS != q || lowered.ID != p.ID {
				t.Errorf("at QoS %d: %v", q, err)
			}
			if st := s.Stats(); st.InFlight != 0 {
				t.Errorf("%d in flight", st.InFlight)
			}
		})
	}
}

// A message in flight whose session the broker has lost is sent at QoS 0 too, as a new message.
func TestLowerQoSAlsoSendsAMessageOfALostSession(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := stream.Options{KeepSession: true, ClientID: "k", V5: stream.OptionsV5{LowerQoS: true}}
		s, c := welcomed(t, b, o, nil)
		done := goPublish(s, message("a", "x", 2))
		c.Expect(publish("a", "x", 2, 1, false))
		c.Drop()
		c, _ = greeted(t, b, s, false, highest(0))
		c.Expect(publish("a", "x", 0, 0, false))
		var lowered *stream.DowngradedError
		if err := <-done; !errors.As(err, &lowered) || lowered.QoS != 0 {
			t.Errorf("%v", err)
		}
	})
}

// V31. Filters that the broker does not support are refused here, and nothing is sent. Without
// support, no subscription identifier is sent.
func TestFiltersThatTheBrokerDoesNotSupportAreRefusedHere(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, &frames.ConnackProperties{
			NoWildcards: true, NoSharedSubscriptions: true, NoSubscriptionIDs: true,
		})
		for filter, code := range map[string]frames.ReasonCode{
			"a/#": frames.WildcardSubscriptionsNotSupported, "+/b": frames.WildcardSubscriptionsNotSupported,
			"$share/g/a": frames.SharedSubscriptionsNotSupported,
		} {
			_, err := s.Subscribe(t.Context(), filterOf(filter, 1))
			var refused *stream.RefusedError
			if !errors.As(err, &refused) || len(refused.Filters) != 1 || refused.Codes[0] != code || !errors.Is(refused.Cause, code) {
				t.Errorf("%s: %v", filter, err)
			}
		}
		c.ExpectNone()
		call := callSubscribe(t.Context(), t, s, filterOf("a", 1))
		p := streamtest.Next[frames.Subscribe](c)
		if p.Identifier != 0 || len(p.Filters) != 1 || p.Filters[0] != filterOf("a", 1) {
			t.Errorf("sent %+v", p)
		}
		c.Grant(p)
		<-call.done
		wantError(t, call.err, nil)
	})
}

// V28. A SUBSCRIBE is split to the size that the broker takes, to the byte. A filter that does not
// fit alone is refused here.
func TestASubscribeIsSplitToTheSizeOfTheBroker(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{}, largest(30))
		call := callSubscribe(t.Context(), t, s, filterOf("aaaaaaaa", 1), filterOf("bbbbbbbb", 1), filterOf("cccccccc", 1))
		for range 3 {
			p := streamtest.Next[frames.Subscribe](c)
			if wire, _ := p.Append(nil, frames.V5); len(wire) > 30 || len(p.Filters) != 1 {
				t.Fatalf("%d bytes: %+v", len(wire), p)
			}
			c.Grant(p)
		}
		<-call.done
		wantError(t, call.err, nil)
		_, err := s.Subscribe(t.Context(), filterOf(strings.Repeat("x", 30), 1))
		var refused *stream.RefusedError
		if !errors.As(err, &refused) || !errors.As(err, new(*stream.LimitError)) {
			t.Fatalf("%v", err)
		}
		synctest.Wait()
		c.ExpectNone()
	})
}

// A filter and an UNSUBSCRIBE are refused only if their packet is larger than the broker takes, to
// the byte. The error has the size of the packet, with a subscription identifier only if it is
// sent.
func TestARequestIsRefusedFromTheFirstByteBeyondTheLimit(t *testing.T) {
	for _, limits := range []frames.ConnackProperties{
		{MaximumPacket: 100}, {MaximumPacket: 100, NoSubscriptionIDs: true}, {MaximumPacket: 200},
	} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := welcomed(t, b, stream.Options{}, &limits)
			call := callSubscribe(t.Context(), t, s, filterOf("a", 1))
			p := streamtest.Next[frames.Subscribe](c) // the identifiers begin at random, so their size is that of this one
			c.Grant(p)
			<-call.done
			limit := int(limits.MaximumPacket)
			for size := 1; size <= limit; size++ {
				p.Filters[0].Topic = strings.Repeat("x", size)
				if wire, _ := p.Append(nil, frames.V5); len(wire) == limit {
					break
				}
			}
			longest := p.Filters[0].Topic
			subscribed(t, s, c, longest, 1)
			_, err := s.Subscribe(t.Context(), filterOf(longest+"x", 1))
			wantLimit(t, err, "packet size", limit+1, limit)
			synctest.Wait()
			c.ExpectNone()
		})
	}
	for longest, want := range map[int]error{100 - 2 - 2 - 1 - 2: nil, 100 - 2 - 2 - 1 - 1: frames.PacketTooLarge} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k"}, nil)
			sub := subscribed(t, s, c, strings.Repeat("x", longest), 1)
			c.Drop()
			lost(t, s)
			left := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
			synctest.Wait()
			c, _ = greeted(t, b, s, true, largest(100))
			if want == nil {
				p := streamtest.Next[frames.Unsubscribe](c)
				c.Unsuback(p)
			}
			wantError(t, takeFrom(t, left), want)
		})
	}
}

// An UNSUBSCRIBE that is too large for the broker is not sent, so that the session goes on.
func TestAnUnsubscribeBeyondTheLimitEndsTheSubscriptionHere(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{KeepSession: true, ClientID: "k"}, nil)
		long := strings.Repeat("x", 40)
		sub := subscribed(t, s, c, long, 1)
		c.Drop()
		lost(t, s)
		left := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		synctest.Wait()
		c, _ = greeted(t, b, s, true, largest(30))
		wantError(t, takeFrom(t, left), frames.PacketTooLarge)
		done := goPublish(s, message("a", "x", 1))
		c.Complete(streamtest.Next[frames.Publish](c))
		wantError(t, <-done, nil)
		if st := s.Stats(); st.Connections != 2 {
			t.Errorf("%d connections", st.Connections)
		}
	})
}

// V27. A packet of the broker beyond MaxPacket ends the connection with its reason code.
func TestAPacketBeyondOurLimitIsAnsweredWithItsReason(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := welcomed(t, b, stream.Options{MaxPacket: 100}, nil)
		c.Send(publish("a", "small", 0, 0, false), publish("a", strings.Repeat("x", 100), 1, 1, false), publish("a", "after", 0, 0, false))
		c.ExpectDisconnectCode(frames.PacketTooLarge)
		var large *frames.TooLargeError
		if err := lost(t, s); !errors.As(err, &large) || large.Limit != 100 {
			t.Errorf("%v", err)
		}
		wantDelivery(t, s.Deliveries(), "a", "small")
		wantNoDelivery(t, s.Deliveries())
	})
}
