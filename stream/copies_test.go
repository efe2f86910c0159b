package stream_test

import (
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func inbox(st stream.Stats) int { return st.Inbox }

// U20: a QoS 1 message that waits here is handed over when the broker has lost the session,
// whatever connections follow. Its ack is not sent, since its identifier means nothing to the new
// session.
func TestWaitingMessagesAreHandedOverWhenTheBrokerHasLostThem(t *testing.T) {
	for name, connections := range map[string][]bool{
		"the session is lost":                        {false},
		"lost, then resumed":                         {false, true},
		"an older snapshot":                          {true},
		"an older snapshot, lost, resumed two times": {true, false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, keepingSession())
				sub := subscribed(t, s, c, "a", atLeast)
				c.Send(inboundRun("a", atLeast, 1, 3)...)
				c.Send(inboundRun("unclaimed", atLeast, 4, 2)...)
				wantStat(t, s, "Inbox", inbox, 5)
				for _, present := range connections {
					c = droppedAndBack(t, s, b, c, present)
					c.Grant(streamtest.Next[frames.Subscribe](c))
					wantStat(t, s, "Inbox", inbox, 5)
				}
				c.Send(publish("a", "new", atLeast, 1, false)) // the identifier of another message before
				wantPayloads(t, sub.Messages(), "1", "2", "3", "new")
				wantPayloads(t, s.Messages(), "4", "5")
				c.Expect(ack(puback, 1))
				synctest.Wait()
				c.ExpectNone()
			})
		})
	}
}

// U20: the broker sends a waiting message again. There is one delivery and one ack.
func TestACopyTakesThePlaceOfAWaitingMessage(t *testing.T) {
	for _, v := range versions() {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			o := keepingSession()
			o.Version = v
			s, c := connected(t, b, o)
			sub := subscribed(t, s, c, "a", atLeast)
			wide := subscribed(t, s, c, "+", atLeast)
			c.Send(inboundRun("a", atLeast, 1, 5)...)
			wantStat(t, s, "Inbox", inbox, 10)
			wantPayloads(t, wide.Messages(), countUp(1, 5)...)
			for range 3 {
				c = droppedAndBack(t, s, b, c, v >= frames.V311)
				c.Grant(streamtest.Next[frames.Subscribe](c))
				c.Grant(streamtest.Next[frames.Subscribe](c))
				c.Send(againRun("a", atLeast, 2, 4)...)
				wantPayloads(t, wide.Messages(), countUp(2, 4)...) // this consumer had received them
				wantStat(t, s, "Inbox", inbox, 5)
			}
			d := takeFrom(t, sub.Deliveries())
			if d.Duplicate || string(d.Payload) != "1" {
				t.Errorf("first %q, duplicate %v", d.Payload, d.Duplicate)
			}
			d.Ack() // the broker does not have it any more
			for _, want := range countUp(2, 4) {
				d := takeFrom(t, sub.Deliveries())
				if !d.Duplicate || string(d.Payload) != want {
					t.Errorf("%q, duplicate %v, want %s", d.Payload, d.Duplicate, want)
				}
				d.Ack()
			}
			c.Expect(ackRun(puback, 2, 4)...)
			synctest.Wait()
			c.ExpectNone()
			wantIdle(t, sub.Deliveries())
		})
	}
}

// U20: after a restart from an older snapshot, the broker may send an acknowledged message again.
// Its identifier may be the identifier of a message that waits here and that the broker does not
// have.
func TestAnotherMessageUnderTheIdentifierOfAWaitingOneIsNoCopy(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		sub := subscribed(t, s, c, "#", atLeast)
		c.Send(publish("a", "precious", atLeast, 1, false), publish("a", "x", atLeast, 2, false), publish("a", "y", atLeast, 3, false))
		c = droppedAndBack(t, s, b, c, true)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		c.Send(publish("a", "old", atLeast, 1, true), publish("b", "x", atLeast, 2, true), publish("a", "y", atLeast, 3, false))
		synctest.Wait()
		got := map[string]int{}
		for range 6 {
			m := takeFrom(t, sub.Messages())
			got[m.Topic+" "+string(m.Payload)]++
		}
		for text, want := range map[string]int{"a precious": 1, "a old": 1, "a x": 1, "b x": 1, "a y": 2} {
			if got[text] != want {
				t.Errorf("%q was handed over %d times, want %d", text, got[text], want)
			}
		}
		c.Expect(ackRun(puback, 1, 3)...)
		synctest.Wait()
		c.ExpectNone()
	})
}

// A message that its consumer has, without an ack, comes again before all later messages, so that
// the newest message stays the last one.
func TestCopiesOfMessagesHandedOverComeBeforeLaterMessages(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Deliveries() // takes messages out of the inbox
		const n, more = 1000, 3
		c.Send(inboundRun("a", atLeast, 1, n)...)
		synctest.Wait()
		handed := n - s.Stats().Inbox
		if handed == 0 || handed == n {
			t.Fatalf("%d of %d messages were handed over", handed, n)
		}
		c = droppedAndBack(t, s, b, c, true)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		c.Send(againRun("a", atLeast, 1, n)...)
		c.Send(inboundRun("a", atLeast, n+1, more)...)
		want := append(countUp(1, handed), countUp(1, n+more)...)
		for i, want := range want {
			d := takeFrom(t, ch)
			if string(d.Payload) != want {
				t.Fatalf("delivery %d is %s, want %s", i, d.Payload, want)
			}
			d.Ack()
		}
		c.Expect(ackRun(puback, 1, n+more)...)
		wantIdle(t, ch)
	})
}
