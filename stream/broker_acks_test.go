package stream_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A1 to A6 are the numbers of known faults of MQTT clients. Each test is for the faults named above
// it.

// A1 [MQTT-2.3.1-6] [MQTT-4.3.3-2]
func TestAcksForAnUnknownIdentifier(t *testing.T) {
	for _, id := range []uint16{1, 2, 12345, 65535} {
		for _, row := range []struct {
			name           string
			comes, answers frames.Type
		}{
			{"A1 PUBACK is ignored", puback, 0},
			{"A1 PUBREC is answered with PUBREL", pubrec, pubrel},
			{"A1 PUBCOMP is ignored", pubcomp, 0},
			{"A1 PUBREL is answered with PUBCOMP", pubrel, pubcomp},
		} {
			t.Run(fmt.Sprintf("%s, identifier %d", row.name, id), func(t *testing.T) {
				inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
					s, c := connected(t, b, faultOptions(v))
					for range 2 {
						c.Send(ack(row.comes, id))
						if row.answers != 0 {
							c.Expect(frames.Ack{Kind: row.answers, ID: id, AckReason: frames.AckReason{Code: frames.PacketIdentifierNotFound}})
						}
						synctest.Wait()
						c.ExpectNone()
					}

					// These acks have no effect on later exchanges with the same identifier.
					in := s.Deliveries()
					c.Send(publish("t", "in", frames.ExactlyOnce, id, false))
					wantDelivery(t, in, "t", "in").Ack()
					c.Expect(ack(pubrec, id))
					c.Send(ack(pubrel, id))
					c.Expect(ack(pubcomp, id))
					published := goPublish(s, message("t", "out", frames.ExactlyOnce))
					c.Complete(streamtest.Next[frames.Publish](c))
					wantError(t, outcome(t, published), nil)
				})
			})
		}
	}
	t.Run("A1 acks for the identifier of a SUBSCRIBE", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			asked := goSubscribe(s, frames.Filter{Topic: "f"})
			p := streamtest.Next[frames.Subscribe](c)
			c.Send(ack(puback, p.ID), ack(pubcomp, p.ID), ack(pubrec, p.ID))
			c.Expect(pubrelUnknown(p.ID))
			wantPending(t, asked)
			c.Grant(p)
			wantError(t, outcome(t, asked), nil)
		})
	})
}

// A2
func TestAcksThatComeTwiceAreHarmless(t *testing.T) {
	t.Run("A2 PUBACK twice", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			receipts := make(chan stream.Receipt, 8)
			s.Publishes() <- stream.Publishing{Message: message("t", "1", frames.AtLeastOnce), Ack: receipts}
			p := streamtest.Next[frames.Publish](c)
			c.Send(ack(puback, p.ID), ack(puback, p.ID))
			synctest.Wait()
			c.Send(ack(puback, p.ID))
			if r := wantReceipts(t, receipts, 1)[0]; r.Err != nil || r.ID != p.ID {
				t.Errorf("Receipt %+v", r)
			}
			c.ExpectNone()

			// A late copy of the ack does not complete the next publication, because that has
			// another identifier.
			s.Publishes() <- stream.Publishing{Message: message("t", "2", frames.AtLeastOnce), Ack: receipts}
			next := streamtest.Next[frames.Publish](c)
			c.Send(ack(puback, p.ID))
			wantReceipts(t, receipts, 0)
			c.Complete(next)
			wantReceipts(t, receipts, 1)
		})
	})
	t.Run("A2 PUBREC and PUBCOMP twice", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			receipts := make(chan stream.Receipt, 8)
			s.Publishes() <- stream.Publishing{Message: message("t", "1", frames.ExactlyOnce), Ack: receipts}
			p := streamtest.Next[frames.Publish](c)
			c.Send(ack(pubrec, p.ID), ack(pubrec, p.ID))
			c.Expect(ack(pubrel, p.ID), ack(pubrel, p.ID))
			c.Send(ack(pubrec, p.ID))
			c.Expect(ack(pubrel, p.ID))
			wantReceipts(t, receipts, 0)
			c.Send(ack(pubcomp, p.ID), ack(pubcomp, p.ID))
			if r := wantReceipts(t, receipts, 1)[0]; r.Err != nil || r.ID != p.ID {
				t.Errorf("Receipt %+v", r)
			}
			c.Send(ack(pubrec, p.ID)) // a late PUBREC is answered again: the broker may still wait for the PUBREL
			c.Expect(pubrelUnknown(p.ID))
			c.Send(ack(pubcomp, p.ID))
			wantReceipts(t, receipts, 0)
			c.ExpectNone()
		})
	})
	t.Run("A2 PUBREL twice", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			in := s.Deliveries()
			c.Send(publish("t", "once", frames.ExactlyOnce, 4, false))
			wantDelivery(t, in, "t", "once").Ack()
			c.Expect(ack(pubrec, 4))
			c.Send(ack(pubrel, 4), ack(pubrel, 4))
			c.Expect(ack(pubcomp, 4), pubcompUnknown(4))
			wantNoDelivery(t, in)
		})
	})
}

// A3
func TestAcksThatDoNotFitAreNeverSuccess(t *testing.T) {
	t.Run("A3 PUBACK for QoS 2 is a downgrade", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			receipts := make(chan stream.Receipt, 8)
			s.Publishes() <- stream.Publishing{Message: message("t", "1", frames.ExactlyOnce), Tag: "mine", Ack: receipts}
			p := streamtest.Next[frames.Publish](c)
			c.Send(ack(puback, p.ID))
			r := wantReceipts(t, receipts, 1)[0]
			var down *stream.DowngradedError
			if !errors.As(r.Err, &down) || down.ID != p.ID || r.ID != p.ID || r.Tag != "mine" {
				t.Fatalf("Receipt %+v, want a DowngradedError of %d", r, p.ID)
			}
			for _, other := range []error{stream.ErrNotSent, stream.ErrUnconfirmed} {
				if errors.Is(r.Err, other) {
					t.Errorf("%v is %v", r.Err, other)
				}
			}

			// The connection stays up and the slot in the window is free again. Publish returns the
			// same error.
			published := goPublish(s, message("t", "2", frames.ExactlyOnce))
			p = streamtest.Next[frames.Publish](c)
			if string(p.Payload) != "2" || p.DUP {
				t.Errorf("sent %+v", p)
			}
			c.Send(ack(puback, p.ID))
			if err := outcome(t, published); !errors.As(err, &down) || down.ID != p.ID {
				t.Errorf("error %v, want a DowngradedError of %d", err, p.ID)
			}
			published = goPublish(s, message("t", "3", frames.ExactlyOnce))
			c.Complete(streamtest.Next[frames.Publish](c))
			wantError(t, outcome(t, published), nil)
			wantReceipts(t, receipts, 0)
			if n := s.Stats().Connections; n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	})
	for _, row := range []struct {
		name  string
		qos   frames.QoS
		first []frames.Type // acks sent before the wrong ack; the client answers each with PUBREL
		last  frames.Type
		resum frames.Type // the packet that a kept session retransmits; 0 means PUBLISH
	}{
		{name: "A3 PUBREC for QoS 1 closes", qos: 1, last: pubrec},
		{name: "A3 PUBCOMP for QoS 1 closes", qos: 1, last: pubcomp},
		{name: "A3 PUBCOMP before PUBREC closes", qos: 2, last: pubcomp},
		{name: "A3 PUBACK after PUBREC closes", qos: 2, first: []frames.Type{pubrec}, last: puback, resum: pubrel},
	} {
		t.Run(row.name+", clean session", func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				receipts := make(chan stream.Receipt, 8)
				s.Publishes() <- stream.Publishing{Message: message("t", "p", row.qos), Tag: 1, Ack: receipts}
				p := streamtest.Next[frames.Publish](c)
				for _, kind := range row.first {
					c.Send(ack(kind, p.ID))
					c.Expect(ack(pubrel, p.ID))
				}
				wantReceipts(t, receipts, 0)
				c.Send(ack(row.last, p.ID))
				endsWith(t, c, frames.ProtocolViolation)
				wantViolation(t, lost(t, s), row.last.String())
				r := wantReceipts(t, receipts, 1)[0]
				wantError(t, r.Err, stream.ErrUnconfirmed)
				wantViolation(t, r.Err, row.last.String())
				if r.ID != p.ID || r.Tag != 1 {
					t.Errorf("Receipt %+v", r)
				}
				c = b.Handshake(false)
				synctest.Wait()
				c.ExpectNone()
				wantReceipts(t, receipts, 0)
			})
		})
		t.Run(row.name+", kept session", func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				o := faultOptions(v)
				o.KeepSession = true
				s, c := connected(t, b, o)
				receipts := make(chan stream.Receipt, 8)
				s.Publishes() <- stream.Publishing{Message: message("t", "p", row.qos), Ack: receipts}
				p := streamtest.Next[frames.Publish](c)
				for _, kind := range row.first {
					c.Send(ack(kind, p.ID))
					c.Expect(ack(pubrel, p.ID))
				}
				c.Send(ack(row.last, p.ID))
				endsWith(t, c, frames.ProtocolViolation)
				wantReceipts(t, receipts, 0)
				c = b.Handshake(true)
				if row.resum == pubrel {
					c.Expect(ack(pubrel, p.ID))
					c.Send(ack(pubcomp, p.ID))
				} else {
					p.DUP = true
					c.Expect(p)
					c.Complete(p)
				}
				if r := wantReceipts(t, receipts, 1)[0]; r.Err != nil {
					t.Errorf("Receipt %+v", r)
				}
			})
		})
	}
}

// A4 [MQTT-4.3.3-2] [MQTT-3.3.1-3]
func TestExactlyOnceIsDeliveredOnce(t *testing.T) {
	for _, dup := range []bool{true, false} { // a duplicate is recognized by its identifier, whatever its DUP flag
		again := publish("t", "one", frames.ExactlyOnce, 6, dup)
		name := "A4 PUBLISH again before PUBREL"
		if !dup {
			name += ", without DUP"
		}
		t.Run(name+", settled", func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				in := s.Deliveries()
				c.Send(publish("t", "one", frames.ExactlyOnce, 6, false))
				wantDelivery(t, in, "t", "one").Ack()
				c.Expect(ack(pubrec, 6))
				for range 3 {
					c.Send(again)
					c.Expect(ack(pubrec, 6))
				}
				wantNoDelivery(t, in)
				c.Send(ack(pubrel, 6))
				c.Expect(ack(pubcomp, 6))
				wantNoDelivery(t, in)
			})
		})
		t.Run(name+", not settled", func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				in := s.Deliveries()
				c.Send(publish("t", "one", frames.ExactlyOnce, 6, false), again)
				d := wantDelivery(t, in, "t", "one")
				c.Send(again)
				wantNoDelivery(t, in)
				c.ExpectNone() // a PUBREC must wait until the consumer has acknowledged the message
				d.Ack()
				c.Expect(ack(pubrec, 6), ack(pubrec, 6), ack(pubrec, 6))
				c.Send(ack(pubrel, 6))
				c.Expect(ack(pubcomp, 6))
				wantNoDelivery(t, in)
			})
		})
		t.Run(name+", same read", func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				o := faultOptions(v)
				o.DiscardUnclaimed = true
				s, c := connected(t, b, o)
				c.Send(publish("t", "one", frames.ExactlyOnce, 6, false), again, ack(pubrel, 6))
				synctest.Wait()
				if n := s.Stats().Discarded; n != 1 {
					t.Errorf("%d messages discarded, want 1", n)
				}
			})
		})
		name = "A4 the identifier after PUBCOMP is a new message"
		if dup {
			name += ", DUP or not"
		}
		t.Run(name, func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				in := s.Deliveries()
				for _, payload := range []string{"one", "two", "two"} {
					c.Send(publish("t", payload, frames.ExactlyOnce, 6, dup))
					d := wantDelivery(t, in, "t", payload)
					if d.Duplicate != dup {
						t.Errorf("Duplicate is %v", d.Duplicate)
					}
					d.Ack()
					c.Expect(ack(pubrec, 6))
					c.Send(ack(pubrel, 6))
					c.Expect(ack(pubcomp, 6))
				}
				wantNoDelivery(t, in)
			})
		})
	}
}

// A5 [MQTT-4.3.2-2]
func TestAtLeastOnceTwiceIsDeliveredTwice(t *testing.T) {
	for name, dup := range map[string]bool{"A5 PUBLISH twice, DUP": true, "A5 PUBLISH twice, no DUP": false} {
		t.Run(name, func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				in := s.Deliveries()
				c.Send(publish("t", "p", frames.AtLeastOnce, 6, false), publish("t", "p", frames.AtLeastOnce, 6, dup))
				first := wantDelivery(t, in, "t", "p")
				second := wantDelivery(t, in, "t", "p")
				if first.Duplicate || second.Duplicate != dup {
					t.Errorf("Duplicate is %v, then %v", first.Duplicate, second.Duplicate)
				}
				second.Ack()
				synctest.Wait()
				c.ExpectNone()
				first.Ack()
				c.Expect(ack(puback, 6), ack(puback, 6))
			})
		})
	}
}

// A6 [MQTT-4.6.0-2] [MQTT-4.6.0-3]
func TestAcksLeaveInOrderOfArrival(t *testing.T) {
	t.Run("A6 settled from back to front", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			in := s.Deliveries()
			var packets, answers []frames.Packet
			for id := uint16(10); id > 0; id-- { // the messages arrive with descending identifiers
				q := frames.AtLeastOnce + frames.QoS(id%2)
				packets = append(packets, publish("t", "", q, id, false))
				answers = append(answers, ack([]frames.Type{puback, pubrec}[id%2], id))
			}
			c.Send(packets...)
			var held []stream.Delivery
			for range packets {
				held = append(held, wantDelivery(t, in, "t", ""))
			}
			for _, d := range slices.Backward(held[1:]) {
				d.Ack()
				d.Ack()
			}
			synctest.Wait()
			c.ExpectNone()
			before := c.Writes()
			held[0].Ack()
			c.Expect(answers...)
			if n := c.Writes() - before; n != 1 {
				t.Errorf("the acks took %d writes, want 1", n)
			}
		})
	})
	t.Run("A6 a message that is never settled holds back the later ones only", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, faultOptions(frames.V311))
			in := s.Deliveries()
			var held []stream.Delivery
			for id := range uint16(5) {
				c.Send(publish("t", "", frames.AtLeastOnce, id+1, false))
				held = append(held, wantDelivery(t, in, "t", ""))
			}
			for _, i := range []int{4, 1, 0, 3} {
				held[i].Ack()
			}
			c.Expect(ack(puback, 1), ack(puback, 2))
			synctest.Wait()
			c.ExpectNone()
			held[2].Ack()
			c.Expect(ack(puback, 3), ack(puback, 4), ack(puback, 5))
		})
	})

	// Each consumer of a message acknowledges it, in a random order.
	const n = 240
	for name, q := range map[string]frames.QoS{"QoS 1": 1, "QoS 2": 2, "QoS 1 and 2": 3} {
		for _, filters := range [][]string{{"#"}, {"#", "a/b"}, {"a/+", "#", "a/b"}} {
			t.Run(fmt.Sprintf("A6 settled in any order from many goroutines, %s, %d filters", name, len(filters)), func(t *testing.T) {
				inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
					s, c := connected(t, b, faultOptions(v))
					var ins []<-chan stream.Delivery
					for _, f := range filters {
						ins = append(ins, subscribed(t, s, c, f, frames.ExactlyOnce).Deliveries())
					}
					var packets, answers []frames.Packet
					for i := range n {
						q := q
						if q == 3 {
							q = frames.QoS(1 + rand.N(2))
						}
						id := uint16(7*i%n + 1) // uses each identifier once, not in ascending order
						packets = append(packets, publish("a/b", fmt.Sprint(i), q, id, false))
						answers = append(answers, ack([]frames.Type{puback, pubrec}[q-1], id))
					}
					for i := 0; i < n; {
						k := min(1+rand.N(40), n-i)
						c.Send(packets[i : i+k]...)
						i += k
					}
					const hands = 8
					var work sync.WaitGroup
					for _, in := range ins {
						var held []stream.Delivery
						for i := range n {
							held = append(held, wantDelivery(t, in, "a/b", fmt.Sprint(i)))
						}
						rand.Shuffle(n, func(i, j int) { held[i], held[j] = held[j], held[i] })
						for k := range hands {
							work.Go(func() {
								for i := k; i < n; i += hands {
									held[i].Ack()
								}
							})
						}
					}
					c.Expect(answers...)
					work.Wait()
					synctest.Wait()
					c.ExpectNone()
				})
			})
		}
	}
	t.Run("A6 overlapping subscriptions: the last to settle releases the ack", func(t *testing.T) {
		for _, q := range []frames.QoS{1, 2} {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				one := subscribed(t, s, c, "a/#", q).Deliveries()
				two := subscribed(t, s, c, "a/b", q).Deliveries()
				c.Send(publish("a/b", "x", q, 1, false), publish("a/c", "y", q, 2, false))
				x1, y1 := wantDelivery(t, one, "a/b", "x"), wantDelivery(t, one, "a/c", "y")
				x2 := wantDelivery(t, two, "a/b", "x")
				wantNoDelivery(t, two)
				y1.Ack()
				x1.Ack()
				x1.Ack()
				synctest.Wait()
				c.ExpectNone()
				x2.Ack()
				kind := []frames.Type{puback, pubrec}[q-1]
				c.Expect(ack(kind, 1), ack(kind, 2))
			})
		}
	})
}

// [MQTT-4.6.0-4]
func TestPubrelsLeaveInTheOrderOfThePubrecs(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		o := faultOptions(v)
		o.Window = 3
		s, c := connected(t, b, o)
		receipts := make(chan stream.Receipt, 8)
		var ids []uint16
		for range 3 {
			s.Publishes() <- stream.Publishing{Message: message("t", "", frames.ExactlyOnce), Ack: receipts}
			ids = append(ids, streamtest.Next[frames.Publish](c).ID)
		}
		c.Send(ack(pubrec, ids[2]), ack(pubrec, ids[0]), ack(pubrec, ids[1]))
		c.Expect(ack(pubrel, ids[2]), ack(pubrel, ids[0]), ack(pubrel, ids[1]))
		c.Send(ack(pubcomp, ids[1]), ack(pubcomp, ids[2]), ack(pubcomp, ids[0]))
		for _, r := range wantReceipts(t, receipts, 3) {
			if r.Err != nil {
				t.Errorf("Receipt %+v", r)
			}
		}
	})
}

// [MQTT-2.3.1-4] The broker may use an identifier that the client uses too, for another message.
func TestTheSameIdentifierServesBothWaysAtOnce(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		s, c := connected(t, b, faultOptions(v))
		in := s.Deliveries()
		published := goPublish(s, message("t", "out", frames.ExactlyOnce))
		id := streamtest.Next[frames.Publish](c).ID
		c.Send(publish("t", "in", frames.ExactlyOnce, id, false))
		d := wantDelivery(t, in, "t", "in")
		c.Send(ack(pubrec, id))
		c.Expect(ack(pubrel, id))
		d.Ack()
		c.Expect(ack(pubrec, id))
		c.Send(ack(pubrel, id))
		c.Expect(ack(pubcomp, id))
		wantPending(t, published)
		c.Send(ack(pubcomp, id))
		wantError(t, outcome(t, published), nil)
	})
}

// A packet in the batch behind a blocked write is not sent yet. So an ack with its identifier is
// not an ack of this packet: it must neither complete the publication nor delay the packet.
func TestAckOfAnUnsentPacketDoesNotCompleteIt(t *testing.T) {
	for _, kind := range []frames.Type{puback, pubrec, pubcomp} {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			o := faultOptions(v)
			o.KeepSession, o.Window = true, 10
			acks := make(chan stream.Receipt, 2)
			s, c := connected(t, b, o)
			c.Stall()
			offer(s, 0, 1, atMost, acks)
			synctest.Wait()
			offer(s, 1, 2, exactly, acks)
			synctest.Wait()
			c.Send(ack(kind, 1))
			wantReceipts(t, acks, 0)
			c.Abort()
			c = b.Handshake(true)
			wantReceipt(t, acks, 0, stream.ErrUnconfirmed)
			c.Expect(frames.Publish{Message: numbered(1, exactly), ID: 1})
			c.Send(ack(pubrec, 1))
			c.Expect(ack(pubrel, 1))
			c.Send(ack(pubcomp, 1))
			wantReceipt(t, acks, 1)
		})
	}
}
