package stream_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// [MQTT-4.6.0-1] 20 publications are in flight, at QoS 1 and 2 in turn, and their identifiers wrap
// around. The client retransmits them in their original order after a first and a second cut, and
// so does the next client on the same store.
func TestTwentyInFlightAreSentAgainInOrderAcrossTheWrap(t *testing.T) {
	const window, first = 20, 65_530
	bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
		o := kept(window, nil)
		o.Store, o.KeepAlive = flow.NewMemoryStore(), noPing
		s, c := connected(t, b, o)
		go func() {
			for n := range first - 1 {
				s.Publishes() <- publishing(n, atLeast, nil)
			}
		}()
		var answers []frames.Packet
		for n := range first - 1 {
			p := streamtest.Next[frames.Publish](c)
			if int(p.ID) != n+1 {
				t.Fatalf("publication %d has identifier %d", n, p.ID)
			}
			if answers = append(answers, ack(puback, p.ID)); len(answers) == window/2 || n == first-2 {
				c.Send(answers...)
				answers = answers[:0]
			}
		}

		for n := range window {
			s.Publishes() <- publishing(n, atLeast+frames.QoS(n%2), nil)
		}
		inFlight := nextPublishes(t, c, window)
		var again []frames.Packet
		for n, p := range inFlight {
			if want := uint16((first+n-1)%65_535 + 1); p.ID != want || p.DUP || string(p.Payload) != fmt.Sprint(n) {
				t.Fatalf("publication %d in flight is %+v, want identifier %d", n, p, want)
			}
			p.DUP = true
			again = append(again, p)
		}
		for _, n := range []int{13, 1, 3} { // publications before and after the wrap
			c.Send(ack(pubrec, inFlight[n].ID))
			c.Expect(ack(pubrel, inFlight[n].ID))
			again[n] = ack(pubrel, inFlight[n].ID)
		}
		c.Send(ack(puback, inFlight[4].ID), ack(puback, inFlight[16].ID), ack(pubcomp, inFlight[3].ID))
		for _, n := range []int{16, 4, 3} {
			again = slices.Delete(again, n, n+1)
		}

		c = droppedAndBack(t, s, b, c, true)
		c.Expect(again...)
		c = droppedAndBack(t, s, b, c, true)
		c.Expect(again...)
		s.Close()
		s = open(t, b, o)
		c = b.Handshake(true)
		c.Expect(again...)
		for _, p := range again {
			if p, is := p.(frames.Publish); is {
				c.Complete(p)
				continue
			}
			c.Send(ack(pubcomp, p.(frames.Ack).ID))
		}
		if err := s.Flush(aMinute(t)); err != nil {
			t.Error(err)
		}
	}, streamtest.Buffer(-1))
}

// [MQTT-4.6.0-5] All three ways to receive deliver messages in order of arrival, across topics and
// QoS levels.
func TestMessagesAreHandedOverInOrderOfArrival(t *testing.T) {
	const n = 300
	for name, consume := range map[string]func(ctx context.Context, s *stream.Subscription, seen func(frames.Message)){
		"Messages": func(_ context.Context, s *stream.Subscription, seen func(frames.Message)) {
			for m := range s.Messages() {
				seen(m)
			}
		},
		"Deliveries": func(_ context.Context, s *stream.Subscription, seen func(frames.Message)) {
			for d := range s.Deliveries() {
				seen(d.Message)
				d.Ack()
			}
		},
		"All": func(ctx context.Context, s *stream.Subscription, seen func(frames.Message)) {
			for d, err := range s.All(ctx) {
				if err != nil {
					return
				}
				seen(d.Message)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				sub := subscribed(t, s, c, "#", exactly)
				var got, want []string
				done := make(chan struct{})
				go func() {
					defer close(done)
					consume(t.Context(), sub, func(m frames.Message) { got = append(got, m.Topic+" "+string(m.Payload)) })
				}()
				var packets []frames.Packet
				for i := range n {
					q := frames.QoS(i * 7 % 3)
					p := publish(fmt.Sprint("t/", i%5), fmt.Sprint(i), q, uint16(q)*1000+uint16(i), false)
					if q == atMost {
						p.ID = 0
					}
					packets, want = append(packets, p), append(want, p.Topic+" "+string(p.Payload))
				}
				for chunk := range slices.Chunk(packets, 37) {
					c.Send(chunk...)
				}
				for _, p := range packets {
					if p := p.(frames.Publish); p.QoS > atMost {
						c.Expect(ack([]frames.Type{puback, pubrec}[p.QoS-1], p.ID))
					}
				}
				s.Close()
				<-done
				if !slices.Equal(got, want) {
					t.Errorf("received %q", got)
				}
			})
		})
	}
}

// U25: an abandoned Subscription gives its messages back to the places that they had by arrival.
func TestMessagesOfAnAbandonedSubscriptionReturnInOrderOfArrival(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		for i := range 6 {
			c.Send(inboundRun([]string{"a", "b"}[i%2], atLeast, i+1, 1)...)
		}
		wantStat(t, s, "Unclaimed", unclaimed, 6)
		ctx, cancel := context.WithCancel(t.Context())
		left := inBackground(func() error { _, err := s.Subscribe(ctx, filterOf("a", atLeast)); return err })
		streamtest.Next[frames.Subscribe](c)
		wantStat(t, s, "Unclaimed", unclaimed, 3)
		cancel()
		wantError(t, takeFrom(t, left), context.Canceled)
		wantPayloads(t, s.Messages(), countUp(1, 6)...)
	})
}

// U25: messages that move to another Subscription with a matching filter are merged by arrival.
func TestMessagesOfAnAbandonedSubscriptionMoveToAnotherInOrderOfArrival(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		other := subscribed(t, s, c, "a/+", atLeast)
		c.Send(inboundRun("b", atLeast, 1, 1)...)
		ctx, cancel := context.WithCancel(t.Context())
		left := inBackground(func() error { _, err := s.Subscribe(ctx, filterOf("#", atLeast)); return err })
		streamtest.Next[frames.Subscribe](c)
		wide := callSubscribe(t.Context(), t, s, filterOf("b", atLeast))
		c.Send(inboundRun("a/1", atLeast, 2, 1)...)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		c.Send(inboundRun("b", atLeast, 3, 1)...)
		cancel()
		wantError(t, takeFrom(t, left), context.Canceled)
		wantPayloads(t, wide.granted().Messages(), "1", "3")
		wantPayloads(t, other.Messages(), "2")
	})
}

func TestDeliveryHasThePacketIdentifier(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		c.Send(publish("a", "0", atMost, 0, false), publish("a", "1", atLeast, 7, false), publish("a", "2", exactly, 9, true))
		for i, want := range []uint16{0, 7, 9} {
			if d := takeFrom(t, s.Deliveries()); d.ID != want || d.Duplicate != (i == 2) {
				t.Errorf("delivery %d has ID %d, DUP %v", i, d.ID, d.Duplicate)
			}
		}
	})
}
