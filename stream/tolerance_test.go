package stream_test

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// [MQTT-3.1.4-5] The broker rejects a CONNECT while publications wait. They are sent on the next
// connection, without DUP.
func TestPublicationsGoOutAfterARefusedConnection(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		s := open(t, b, faultOptions(v))
		published := goPublish(s, message("t", "early", atLeast))
		asked := goSubscribe(s, filterOf("f", atMost))
		for range 2 {
			c := b.Accept()
			c.ExpectConnect()
			synctest.Wait()
			c.ExpectNone()
			c.Connack(false, frames.ServerUnavailable)
			c.ExpectClosed()
			wantPending(t, published)
			wantPending(t, asked)
		}
		c := b.Handshake(false)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		p := streamtest.Next[frames.Publish](c)
		if p.DUP {
			t.Error("DUP on a publication that was never sent")
		}
		c.Complete(p)
		wantError(t, outcome(t, asked), nil)
		wantError(t, outcome(t, published), nil)
	})
}

// [MQTT-3.3.5-1] For overlapping filters a broker sends one copy of a message or several. Each copy
// has its own ack. Every matching Subscription gets each copy once, even if several of its filters
// match.
func TestEachCopyForOverlappingFiltersIsAMessage(t *testing.T) {
	for _, copies := range []uint16{1, 2, 3} {
		for _, q := range []frames.QoS{atLeast, exactly} {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				call := callSubscribe(t.Context(), t, s, filterOf("a/#", q), filterOf("a/+", q))
				c.Grant(streamtest.Next[frames.Subscribe](c))
				both, one := call.granted().Deliveries(), subscribed(t, s, c, "a/b", q).Deliveries()
				for id := range copies {
					c.Send(publish("a/b", "x", q, id+1, false))
				}
				for id := range copies {
					wantDelivery(t, both, "a/b", "x").Ack()
					synctest.Wait()
					c.ExpectNone()
					wantDelivery(t, one, "a/b", "x").Ack()
					c.Expect(ack([]frames.Type{puback, pubrec}[q-1], id+1))
				}
				wantNoDelivery(t, both)
				wantNoDelivery(t, one)
			})
		}
	}
}

// [MQTT-3.10.4-3] When the client unsubscribes from a filter, it still completes the QoS 2
// exchanges of that filter, whatever their state.
func TestQoS2ExchangeThatIsOpenAtUnsubscribeIsCompleted(t *testing.T) {
	for name, settledBefore := range map[string]bool{"before PUBREC": false, "between PUBREC and PUBREL": true} {
		for _, again := range []bool{false, true} { // whether the broker sends its PUBLISH twice
			t.Run(fmt.Sprintf("%s, repeated %t", name, again), func(t *testing.T) {
				inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
					s, c := connected(t, b, faultOptions(v))
					sub := subscribed(t, s, c, "a", exactly)
					in := sub.Deliveries()
					c.Send(publish("a", "x", exactly, 9, false))
					d := wantDelivery(t, in, "a", "x")
					if settledBefore {
						d.Ack()
						c.Expect(ack(pubrec, 9))
					}
					left := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
					unsubscribed(t, c, "a")
					wantError(t, outcome(t, left), nil)
					wantEnd(t, in)
					if again {
						c.Send(publish("a", "x", exactly, 9, true))
					}
					if !settledBefore {
						synctest.Wait()
						c.ExpectNone()
						d.Ack()
						c.Expect(ack(pubrec, 9))
					}
					if again {
						c.Expect(ack(pubrec, 9))
					}
					c.Send(ack(pubrel, 9))
					c.Expect(ack(pubcomp, 9))
					wantStat(t, s, "Unacked", func(st stream.Stats) int { return st.Unacked }, 0)
					wantStat(t, s, "Discarded", discarded, 0) // the second PUBLISH is a duplicate
				})
			})
		}
	}
}

// [MQTT-4.7.2-1] A filter that begins with a wildcard does not match $ topics. The client applies
// this rule of 3.1.1 with 3.1 too.
func TestLeadingWildcardsLeaveDollarTopicsAlone(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		s, c := connected(t, b, faultOptions(v))
		all := subscribed(t, s, c, "#", atLeast).Deliveries()
		plus := subscribed(t, s, c, "+/x", atLeast).Deliveries()
		c.Send(publish("$SYS/x", "1", atLeast, 1, false)) // a broker of 3.1 need not follow the rule
		wantDelivery(t, s.Deliveries(), "$SYS/x", "1").Ack()
		c.Expect(ack(puback, 1))
		wantNoDelivery(t, all)
		wantNoDelivery(t, plus)

		sys := subscribed(t, s, c, "$SYS/#", atLeast).Deliveries()
		c.Send(publish("$SYS/x", "2", atLeast, 2, false), publish("a/x", "3", atLeast, 3, false))
		wantDelivery(t, sys, "$SYS/x", "2").Ack()
		wantDelivery(t, all, "a/x", "3").Ack()
		wantDelivery(t, plus, "a/x", "3").Ack()
		c.Expect(ack(puback, 2), ack(puback, 3))
		wantNoDelivery(t, sys)
	})
}

// [MQTT-3.3.1-3] DUP is not part of a message. A message that arrives with DUP is published without
// DUP.
func TestADuplicateIsPassedOnWithoutDUP(t *testing.T) {
	for _, q := range []frames.QoS{atLeast, exactly} {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			c.Send(publish("t", "p", q, 3, true))
			d := wantDelivery(t, s.Deliveries(), "t", "p")
			if !d.Duplicate {
				t.Error("Duplicate is not set")
			}
			published := goPublish(s, d.Message)
			p := streamtest.Next[frames.Publish](c)
			if p.DUP || p.QoS != q || p.Topic != "t" || string(p.Payload) != "p" {
				t.Errorf("published as %+v", p)
			}
			c.Complete(p)
			wantError(t, outcome(t, published), nil)
		})
	}
}

// [MQTT-4.3.2-2] After PUBACK the identifier belongs to a new message, even if DUP is set.
func TestAnAcknowledgedIdentifierBeginsANewMessage(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		s, c := connected(t, b, faultOptions(v))
		for i, payload := range []string{"one", "one", "two", "two"} {
			c.Send(publish("t", payload, atLeast, 6, i%2 == 1))
			d := wantDelivery(t, s.Deliveries(), "t", payload)
			synctest.Wait()
			c.ExpectNone() // no ack before the consumer has acknowledged the message
			d.Ack()
			c.Expect(ack(puback, 6))
		}
	})
}

// [MQTT-4.3.2-2] If a consumer fails before it calls Ack, the session never acks the message, not
// even at its end. The broker sends the message again.
func TestUnackedMessageOfAFailedConsumerComesAgain(t *testing.T) {
	for _, q := range []frames.QoS{atLeast, exactly} {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			o := faultOptions(v)
			o.KeepSession, o.Store = true, flow.NewMemoryStore()
			s, c := connected(t, b, o)
			sub := subscribed(t, s, c, "a", q)
			c.Send(publish("a", "x", q, 5, false))
			func() {
				defer func() { _ = recover() }()
				for range sub.All(t.Context()) {
					panic("handler")
				}
			}()
			synctest.Wait()
			c.ExpectNone()
			s.Close()
			c.ExpectDisconnect()

			s = open(t, b, o)
			c = b.Handshake(true)
			c.Send(publish("a", "x", q, 5, true))
			d := wantDelivery(t, s.Deliveries(), "a", "x")
			synctest.Wait()
			c.ExpectNone()
			d.Ack()
			c.Expect(ack([]frames.Type{puback, pubrec}[q-1], 5))
		})
	}
}

// K9 [MQTT-4.1.0-2] A failed write ends the connection. The session keeps its publications in
// flight and the identifiers of received messages.
func TestAFailedWriteCostsTheSessionNoState(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		o := faultOptions(v)
		o.KeepSession, o.Window = true, 10
		s, c := connected(t, b, o)
		receipts := make(chan stream.Receipt, 10)
		c.Send(publish("in", "x", exactly, 7, false))
		wantDelivery(t, s.Deliveries(), "in", "x").Ack()
		c.Expect(ack(pubrec, 7))
		offer(s, 0, 2, exactly, receipts)
		nextPublishes(t, c, 2)
		c.Send(ack(pubrec, 1))
		c.Expect(ack(pubrel, 1))

		c.Stall()
		offer(s, 2, 3, atLeast, receipts)
		c.ExpectClosed()
		wantError(t, lost(t, s), os.ErrDeadlineExceeded)
		wantReceipts(t, receipts, 0)

		c = b.Handshake(true)
		c.Expect(ack(pubrel, 1))
		if p := streamtest.Next[frames.Publish](c); p.ID != 2 || !p.DUP {
			t.Errorf("retransmitted: %+v", p)
		}
		if p := streamtest.Next[frames.Publish](c); p.ID != 3 || string(p.Payload) != "2" {
			t.Errorf("retransmitted: %+v", p)
		}
		c.Send(publish("in", "x", exactly, 7, true))
		c.Expect(ack(pubrec, 7))
		wantNoDelivery(t, s.Deliveries())
		c.Send(ack(pubrel, 7), ack(pubcomp, 1), ack(pubrec, 2), ack(puback, 3))
		c.Expect(ack(pubcomp, 7), ack(pubrel, 2))
		c.Send(ack(pubcomp, 2))
		for _, r := range wantReceipts(t, receipts, 3) {
			if r.Err != nil {
				t.Errorf("Receipt %+v", r)
			}
		}
	})
}
