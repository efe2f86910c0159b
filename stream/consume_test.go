package stream_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestReceiveFromMessagesSendsTheAck(t *testing.T) {
	for _, q := range []frames.QoS{atLeast, exactly} {
		t.Run(fmt.Sprintf("QoS %d", q), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "a", q)
				kind := puback
				if q == exactly {
					kind = pubrec
				}

				c.Send(inboundRun("a", q, 7, 2)...)
				ch := sub.Messages()
				if cap(ch) != 0 {
					t.Fatalf("Messages has a buffer of %d: buffered messages would count as acknowledged", cap(ch))
				}
				synctest.Wait()
				c.ExpectNone() // an offered message is not acknowledged before a consumer receives it

				wantPayloads(t, ch, "7")
				c.Expect(ack(kind, 7))
				synctest.Wait()
				c.ExpectNone()
				wantPayloads(t, ch, "8")
				c.Expect(ack(kind, 8))
			})
		})
	}
}

func TestQoS2MessageIsReleasedWithPubcomp(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", exactly)
		c.Send(publish("a", "x", exactly, 9, false))
		wantPayloads(t, sub.Messages(), "x")
		c.Expect(ack(pubrec, 9))
		c.Send(publish("a", "x", exactly, 9, true)) // before PUBREL the identifier still names the same message
		c.Expect(ack(pubrec, 9))
		wantIdle(t, sub.Messages())
		c.Send(ack(pubrel, 9))
		c.Expect(ack(pubcomp, 9))
	})
}

func TestChannelsAreTheSameAtEveryCall(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		m, d, rest, others := sub.Messages(), sub.Deliveries(), s.Messages(), s.Deliveries()
		if sub.Messages() != m || sub.Deliveries() != d || s.Messages() != rest || s.Deliveries() != others {
			t.Fatal("a second call returned another channel")
		}
		if m == rest || d == others {
			t.Fatal("a Subscription shares the channel of its session")
		}
	})
}

func TestReceiveChannelsCloseOnceAfterTheirLastValue(t *testing.T) {
	for _, end := range []struct {
		name   string
		left   int // number of messages that are delivered after the end
		how    func(t *testing.T, s *stream.Session, c *streamtest.Conn, sub *stream.Subscription)
		client bool // whether the end of the Subscription ends the client too
	}{
		// The broker retransmits the QoS 1 and 2 messages that are still in the inbox. Only QoS 0
		// messages are lost.
		{"Close", 0, func(t *testing.T, s *stream.Session, c *streamtest.Conn, sub *stream.Subscription) { s.Close() }, true},
		{"Shutdown", 0, func(t *testing.T, s *stream.Session, c *streamtest.Conn, sub *stream.Subscription) {
			if err := s.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"Drain", 3, func(t *testing.T, s *stream.Session, c *streamtest.Conn, sub *stream.Subscription) {
			inBackground(func() error { return sub.Drain(t.Context()) })
			c.Unsuback(streamtest.Next[frames.Unsubscribe](c))
		}, false},
		{"Unsubscribe", 0, func(t *testing.T, s *stream.Session, c *streamtest.Conn, sub *stream.Subscription) {
			done := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
			p := streamtest.Next[frames.Unsubscribe](c)
			c.Expect(ackRun(puback, 2, 3)...) // not received, so dropped
			c.Unsuback(p)
			if err := takeFrom(t, done); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(end.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, nil)
				sub := subscribed(t, s, c, "a", atLeast)
				ch := sub.Messages()
				c.Send(inboundRun("a", atLeast, 1, 4)...)
				wantPayloads(t, ch, "1")
				c.Expect(ack(puback, 1))
				end.how(t, s, c, sub)
				wantPayloads(t, ch, countUp(2, end.left)...)
				wantEnd(t, ch)
				wantEnd(t, ch)
				wantEnd(t, sub.Messages())
				wantEnd(t, sub.Deliveries()) // a channel that is first requested after the end
				if err := sub.Err(); err != nil {
					t.Fatalf("Err is %v, want nil after %s", err, end.name)
				}
				if end.client {
					wantEnd(t, s.Messages())
					wantEnd(t, s.Deliveries())
				} else {
					wantIdle(t, s.Messages())
				}
			})
		})
	}
}

// A delivery that is received after Close could not be acknowledged any more, and the next client
// would get it again.
func TestCloseTakesBackTheBufferOfDeliveries(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Deliveries()
		c.Send(inboundRun("a", atLeast, 1, 5)...)
		synctest.Wait()
		s.Close()
		wantEnd(t, ch)
		c.ExpectDisconnect() // no ack comes before DISCONNECT
	})
}

func TestDeliveriesAreBufferedAndNotSettledByIt(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Deliveries()
		if cap(ch) != 256 {
			t.Fatalf("the buffer is %d, want 256", cap(ch))
		}
		c.Send(inboundRun("a", atLeast, 1, 300)...)
		synctest.Wait()
		if len(ch) != 256 {
			t.Fatalf("%d deliveries in the buffer, want 256", len(ch))
		}
		wantPayloads(t, ch, countUp(1, 300)...)
		synctest.Wait()
		c.ExpectNone()
		wantStat(t, s, "Unacked", func(st stream.Stats) int { return st.Unacked }, 300)
	})
}

func TestAcksLeaveInOrderOfArrivalWhateverTheOrderOfSettling(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", exactly)
		ch := sub.Deliveries()
		c.Send(publish("a", "1", atLeast, 5, false), publish("a", "2", exactly, 3, false),
			publish("a", "3", atMost, 0, false), publish("a", "4", atLeast, 4, false), publish("a", "5", exactly, 9, false))
		first, second, zero, fourth, fifth := takeFrom(t, ch), takeFrom(t, ch), takeFrom(t, ch), takeFrom(t, ch), takeFrom(t, ch)
		for _, d := range []stream.Delivery{fifth, zero, second, fourth} {
			d.Ack()
			synctest.Wait()
			c.ExpectNone()
		}
		first.Ack()
		c.Expect(ack(puback, 5), ack(pubrec, 3), ack(puback, 4), ack(pubrec, 9))
	})
}

func TestAcksFromManyGoroutinesLeaveInOrderOfArrival(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		var workers sync.WaitGroup
		for range 20 {
			workers.Go(func() {
				for d := range sub.Deliveries() {
					d.Ack()
				}
			})
		}
		for first := 1; first <= 2000; first += 100 {
			c.Send(inboundRun("a", atLeast, first, 100)...)
		}
		c.Expect(ackRun(puback, 1, 2000)...)
		s.Close()
		workers.Wait()
	})
}

func TestAckIsIdempotent(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Deliveries()
		var held []stream.Delivery
		for i := 1; i <= 100; i++ {
			c.Send(inboundRun("a", atLeast, i, 1)...)
			held = append(held, takeFrom(t, ch))
			for _, d := range held[:i-1] { // a second Ack has no effect
				d.Ack()
			}
			synctest.Wait()
			c.ExpectNone()
			held[i-1].Ack()
			held[i-1].Ack()
			c.Expect(ack(puback, uint16(i)))
		}
	})
}

func TestAckAfterItsConnectionIsGoneIsHarmless(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		sub := subscribed(t, s, c, "a", atLeast)
		ch := sub.Deliveries()
		c.Send(publish("a", "old", atLeast, 1, false))
		old := takeFrom(t, ch)

		c = droppedAndBack(t, s, b, c, true)
		c.Grant(asked(t, c, filterOf("a", atLeast)))
		c.Send(publish("a", "other", atLeast, 1, false)) // a new message with the same identifier
		other := takeFrom(t, ch)
		old.Ack()
		synctest.Wait()
		c.ExpectNone()
		other.Ack()
		c.Expect(ack(puback, 1))
	})
}

func TestQoS2SettledAfterItsConnectionIsGoneIsNotDeliveredAgain(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		sub := subscribed(t, s, c, "a", exactly)
		ch := sub.Deliveries()
		c.Send(publish("a", "x", exactly, 4, false))
		d := takeFrom(t, ch)

		c = droppedAndBack(t, s, b, c, true)
		c.Grant(asked(t, c, filterOf("a", exactly)))
		c.Send(publish("a", "x", exactly, 4, true))
		synctest.Wait()
		c.ExpectNone() // the ack waits for the delivery that the consumer holds
		d.Ack()
		c.Expect(ack(pubrec, 4))
		wantIdle(t, ch)
	})
}

func TestAckAfterCloseIsHarmless(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(publish("a", "x", atLeast, 1, false))
		d := takeFrom(t, sub.Deliveries())
		s.Close()
		d.Ack()
		d.Ack()
		c.ExpectDisconnect()
		stream.Delivery{}.Ack() // the zero Delivery has no ack to send
	})
}

func TestAckBeforeBreakSettles(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 3)...)
		for d := range sub.All(t.Context()) {
			d.Ack()
			break
		}
		c.Expect(ack(puback, 1))
		synctest.Wait()
		c.ExpectNone()
	})
}

// costOfMessage returns the number of bytes by which one message raises Stats.InboxBytes.
func costOfMessage(t *testing.T, topic string, payload int) int {
	var cost int
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		c.Send(publish(topic, strings.Repeat("x", payload), atMost, 0, false))
		synctest.Wait()
		cost = s.Stats().InboxBytes
	})
	if cost < payload {
		t.Fatalf("a message of %d bytes counts as %d bytes", payload, cost)
	}
	return cost
}

func TestOverlappingSubscriptionsGetACopyEach(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		one, two, three := subscribed(t, s, c, "#", exactly), subscribed(t, s, c, "a/+", exactly), subscribed(t, s, c, "$share/g/a/b", exactly)
		c.Send(publish("a/b", "1", atLeast, 1, false), publish("a/b", "2", exactly, 2, false),
			publish("a/c", "3", atMost, 0, false), publish("$SYS/x", "4", atLeast, 4, false))
		// The session sends the ack of a message when all its consumers have acknowledged it. Acks
		// are sent in order of arrival.
		first := []stream.Delivery{takeFrom(t, one.Deliveries()), takeFrom(t, two.Deliveries()), takeFrom(t, three.Deliveries())}
		second := []stream.Delivery{takeFrom(t, one.Deliveries()), takeFrom(t, two.Deliveries()), takeFrom(t, three.Deliveries())}
		for i := range 3 {
			if string(first[i].Payload) != "1" || string(second[i].Payload) != "2" {
				t.Fatalf("Subscription %d received %q and %q", i, first[i].Payload, second[i].Payload)
			}
		}
		wantPayloads(t, one.Deliveries(), "3")
		wantPayloads(t, two.Deliveries(), "3")
		wantIdle(t, one.Deliveries()) // a leading wildcard does not match $SYS [MQTT-4.7.2-1]
		wantIdle(t, three.Deliveries())
		wantPayloads(t, s.Messages(), "4")
		for _, d := range second {
			d.Ack()
		}
		first[2].Ack()
		first[0].Ack()
		first[0].Ack()
		synctest.Wait()
		c.ExpectNone()
		first[1].Ack()
		c.Expect(ack(puback, 1), ack(pubrec, 2), ack(puback, 4))
	})
}

func TestLeftoverCopiesHoldNobodyUp(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		quick, slow := subscribed(t, s, c, "a", atLeast), subscribed(t, s, c, "#", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 200)...)
		wantPayloads(t, quick.Messages(), countUp(1, 200)...)
		synctest.Wait()
		c.ExpectNone()
		wantStat(t, s, "Unacked", func(st stream.Stats) int { return st.Unacked }, 200)
		wantPayloads(t, slow.Messages(), countUp(1, 100)...)
		c.Expect(ackRun(puback, 1, 100)...)
	})
}

func TestFlagsOfTheBrokerAreShown(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", exactly)
		ch := sub.Deliveries()
		for i, flags := range []struct{ retain, dup bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
			p := publish("a", "x", atLeast, uint16(i+1), flags.dup)
			p.Retain = flags.retain
			c.Send(p)
			d := takeFrom(t, ch)
			if d.Retain != flags.retain || d.Duplicate != flags.dup || d.QoS != atLeast || d.Topic != "a" {
				t.Errorf("received %+v for %+v", d, p)
			}
		}
		m := publish("a", "x", atMost, 0, false)
		m.Retain = true
		c.Send(m)
		if d := takeFrom(t, ch); !d.Retain || d.Duplicate {
			t.Errorf("received %+v for %+v", d, m)
		}
	})
}

func TestEmptyPayloadIsDelivered(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(publish("a", "", atLeast, 1, false))
		if m := takeFrom(t, sub.Messages()); len(m.Payload) != 0 {
			t.Fatalf("payload is %q", m.Payload)
		}
		c.Expect(ack(puback, 1))
	})
}

func TestReceivedPayloadsStayAsTheyCame(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		sub := subscribed(t, s, c, "#", atLeast)
		ch := sub.Messages()
		const n = 1000
		payload := func(i int) string { return strings.Repeat(fmt.Sprintf("<%d>", i), 1+i*7%50) }
		topic := func(i int) string { return fmt.Sprintf("t/%d", i%300) }
		var kept []frames.Message
		for i := 0; i < n; { // segments that end anywhere in a packet
			var packets []frames.Packet
			for range 1 + i%40 {
				if i == n {
					break
				}
				packets = append(packets, publish(topic(i), payload(i), atLeast, uint16(i+1), false))
				i++
			}
			c.SendSplit(97, packets...)
			for range packets {
				kept = append(kept, takeFrom(t, ch))
			}
		}
		c.Expect(ackRun(puback, 1, n)...)
		for i, m := range kept {
			if m.Topic != topic(i) || string(m.Payload) != payload(i) {
				t.Fatalf("message %d was overwritten with %s: %.40q", i, m.Topic, m.Payload)
			}
			if i > 0 && cap(m.Payload) > len(m.Payload) {
				t.Fatalf("an append to message %d would overwrite its neighbour", i)
			}
		}
	})
}
