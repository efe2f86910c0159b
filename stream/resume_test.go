package stream_test

import (
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
)

// K1 K2: the same identifier, DUP, the same bytes; complete only after the ack.
func TestAPublishWithoutItsAckComesAgainAsItWas(t *testing.T) {
	bothAcknowledged(t, func(t *testing.T, q frames.QoS) {
		throughout(t, stream.Options{}, func(t *testing.T, l *life) {
			m := frames.Message{Topic: "out/\U0001F600", Payload: []byte{0, 255, 10}, QoS: q, Retain: true}
			sendAll(l.s, m)
			l.c.Expect(frames.Publish{Message: m, ID: 1})
			for range 2 {
				l.again(true)
				l.c.Expect(frames.Publish{Message: m, ID: 1, DUP: true})
				l.wantIdle()
			}
			flushed := inBackground(func() error { return l.s.Flush(t.Context()) })
			if q == frames.ExactlyOnce {
				l.c.Send(ack(pubrec, 1))
				l.c.Expect(ack(pubrel, 1))
				l.wantIdle()
				l.c.Send(ack(pubcomp, 1))
			} else {
				l.c.Send(ack(puback, 1))
			}
			if r := wantReceipt(t, l.acks, nil); r.ID != 1 || r.Topic != m.Topic || string(r.Payload) != string(m.Payload) {
				t.Errorf("Receipt %+v", r)
			}
			if err := takeFrom(t, flushed); err != nil {
				t.Error(err)
			}
			l.wantGone()
		})
	})
}

// K3: the PUBREC was stored and the PUBREL was not sent.
func TestAStoredPubrecIsAnsweredOnTheNextConnection(t *testing.T) {
	throughout(t, stream.Options{}, func(t *testing.T, l *life) {
		sendAll(l.s, message("out", "x", 2))
		l.c.Expect(publish("out", "x", 2, 1, false))
		l.c.Stall()
		l.c.Send(ack(pubrec, 1))
		l.again(true)
		l.c.Expect(ack(pubrel, 1))
		l.wantIdle()
		l.c.Send(ack(pubcomp, 1))
		wantReceipt(t, l.acks, nil)
		l.wantGone()
	})
}

// K3: the PUBREC was not stored, so no PUBREL is sent. The PUBLISH comes again only if the process
// that received the PUBREC is gone.
func TestNoPubrelLeavesBeforeItsPubrecIsStored(t *testing.T) {
	throughout(t, stream.Options{}, func(t *testing.T, l *life) {
		sendAll(l.s, message("out", "x", 2))
		l.c.Expect(publish("out", "x", 2, 1, false))
		l.p.full.Store(true)
		l.c.Send(ack(pubrec, 1))
		l.c.ExpectClosed()
		switch l.way {
		case kill, offlineKill:
			l.kill()
			l.boot()
			l.up(true)
			l.c.Expect(publish("out", "x", 2, 1, true))
			l.c.Send(ack(pubrec, 1))
		default:
			l.p.full.Store(false)
			if l.way == restart {
				l.s.Close()
				l.boot()
			}
			l.up(true)
		}
		l.c.Expect(ack(pubrel, 1))
		l.again(true)
		l.c.Expect(ack(pubrel, 1))
		l.wantIdle()
		l.c.Send(ack(pubcomp, 1))
		wantReceipt(t, l.acks, nil)
		l.wantGone()
	})
}

// K4: PUBREL is sent again as often as needed, PUBLISH never.
func TestAPubrelWithoutItsPubcompComesAgain(t *testing.T) {
	throughout(t, stream.Options{}, func(t *testing.T, l *life) {
		sendAll(l.s, message("out", "x", 2))
		l.c.Expect(publish("out", "x", 2, 1, false))
		l.c.Send(ack(pubrec, 1))
		l.c.Expect(ack(pubrel, 1))
		for range 3 {
			l.again(true)
			l.c.Expect(ack(pubrel, 1))
			l.wantIdle()
		}
		l.c.Send(ack(pubcomp, 1))
		wantReceipt(t, l.acks, nil)
		l.wantGone()
	})
}

// K5: a PUBACK for the old connection is not sent on the new one; the message is delivered again.
func TestAnInboundQoS1MessageWithoutItsPubackIsDeliveredAgain(t *testing.T) {
	for _, when := range []string{"settled before", "settled after", "not settled"} {
		t.Run(when, func(t *testing.T) {
			throughout(t, stream.Options{}, func(t *testing.T, l *life) {
				l.c.Send(publish("in", "x", 1, 7, false))
				d := wantDelivery(t, l.s.Deliveries(), "in", "x")
				if when == "settled before" {
					l.c.Stall()
					d.Ack()
				}
				l.again(true)
				if when == "settled after" {
					d.Ack()
				}
				l.wantIdle()
				l.c.Send(publish("in", "x", 1, 7, true))
				d = wantDelivery(t, l.s.Deliveries(), "in", "x")
				if !d.Duplicate {
					t.Error("it is not marked as a duplicate")
				}
				l.wantIdle()
				d.Ack()
				l.c.Expect(ack(puback, 7))
				l.wantGone()
			})
		})
	}
}

// K6: an acknowledged message is not delivered again, whether or not its PUBREC was sent, and
// whichever packet the broker sends next.
func TestASettledQoS2MessageIsNotDeliveredAgain(t *testing.T) {
	for _, then := range []string{"PUBREL", "PUBLISH", "the PUBREC was lost"} {
		t.Run(then, func(t *testing.T) {
			throughout(t, stream.Options{}, func(t *testing.T, l *life) {
				l.c.Send(publish("in", "x", 2, 7, false))
				d := wantDelivery(t, l.s.Deliveries(), "in", "x")
				if then == "the PUBREC was lost" {
					l.c.Stall()
					d.Ack()
				} else {
					d.Ack()
					l.c.Expect(ack(pubrec, 7))
				}
				for range 2 {
					l.again(true)
					if then != "PUBREL" {
						l.c.Send(publish("in", "x", 2, 7, true))
						l.c.Expect(ack(pubrec, 7))
					}
				}
				l.c.Send(ack(pubrel, 7))
				l.c.Expect(ack(pubcomp, 7))
				l.again(true) // the PUBCOMP was lost
				l.c.Send(ack(pubrel, 7))
				l.c.Expect(ack(pubcomp, 7))
				wantNoDelivery(t, l.s.Deliveries())
				l.c.Send(publish("in", "the next one", 2, 7, false))
				wantDelivery(t, l.s.Deliveries(), "in", "the next one").Ack()
				l.c.Expect(ack(pubrec, 7))
				l.c.Send(ack(pubrel, 7))
				l.c.Expect(ack(pubcomp, 7))
				l.wantGone()
			})
		})
	}
}

// K6: the next process gets the message that its consumer had not acknowledged; in the same process
// the consumer still has it.
func TestAnUnsettledQoS2MessageIsForTheNextProcess(t *testing.T) {
	throughout(t, stream.Options{}, func(t *testing.T, l *life) {
		l.c.Send(publish("in", "x", 2, 7, false))
		d := wantDelivery(t, l.s.Deliveries(), "in", "x")
		l.again(true)
		l.c.Send(publish("in", "x", 2, 7, true))
		if l.restarted() {
			d.Ack() // of the session that has ended
			l.wantIdle()
			d = wantDelivery(t, l.s.Deliveries(), "in", "x")
		} else {
			wantNoDelivery(t, l.s.Deliveries())
		}
		d.Ack()
		l.c.Expect(ack(pubrec, 7))
		l.c.Send(ack(pubrel, 7))
		l.c.Expect(ack(pubcomp, 7))
		wantNoDelivery(t, l.s.Deliveries())
		l.wantGone()
	})
}

// K7: publications in flight are sent as new, those past PUBREC end with PUBREL, inbound
// identifiers are forgotten, on the store too.
func TestASessionThatTheBrokerLostGoesOnAsNew(t *testing.T) {
	throughout(t, stream.Options{Window: 3}, func(t *testing.T, l *life) {
		sendAll(l.s, message("out", "1", 2), message("out", "2", 1), message("out", "3", 2), message("out", "4", 1))
		l.c.Expect(publish("out", "1", 2, 1, false), publish("out", "2", 1, 2, false), publish("out", "3", 2, 3, false))
		l.c.Send(ack(pubrec, 1), publish("in", "a", 2, 7, false), publish("in", "b", 2, 8, false))
		l.c.Expect(ack(pubrel, 1))
		wantDelivery(t, l.s.Deliveries(), "in", "a").Ack()
		wantDelivery(t, l.s.Deliveries(), "in", "b").Ack()
		l.c.Expect(ack(pubrec, 7), ack(pubrec, 8))

		l.again(false)
		l.c.Expect(ack(pubrel, 1), publish("out", "2", 1, 2, false), publish("out", "3", 2, 3, false))
		l.wantIdle()
		if st := <-l.s.States(t.Context()); st.Resumed {
			t.Error("State reports a resumed session")
		}
		l.c.Send(publish("in", "new", 2, 7, false))
		wantDelivery(t, l.s.Deliveries(), "in", "new")
		synctest.Wait()

		// The state is now that of an ordinary session, in the next process too.
		l.kill()
		if snap := l.medium.holds(t, "kept"); len(snap.Received) != 0 || len(snap.Publications) != 4 {
			t.Errorf("on the store: %+v", snap)
		}
		l.boot()
		l.up(true)
		l.c.Expect(ack(pubrel, 1), publish("out", "2", 1, 2, true), publish("out", "3", 2, 3, true))
		l.c.Send(ack(pubcomp, 1), ack(puback, 2), ack(pubrec, 3))
		l.c.Expect(ack(pubrel, 3), publish("out", "4", 1, 4, false))
		l.c.Send(ack(pubcomp, 3), ack(puback, 4))
		wantReceipts(t, l.acks, 4)
		l.wantGone()
	})
}

// K9: a write that fails during a connection costs the connection and no state [MQTT-4.1.0-2].
func TestAFailedWriteCostsNoState(t *testing.T) {
	bothAcknowledged(t, func(t *testing.T, q frames.QoS) {
		throughout(t, stream.Options{Window: 2}, func(t *testing.T, l *life) {
			l.c.Send(publish("in", "x", 2, 7, false))
			d := wantDelivery(t, l.s.Deliveries(), "in", "x")
			l.c.Stall()
			d.Ack()
			synctest.Wait()
			sendAll(l.s, message("out", "1", q)) // in the batch behind the write that hangs
			synctest.Wait()
			l.c.Abort()
			l.again(true)
			// It was never sent, but a new process cannot know that.
			l.c.Expect(publish("out", "1", q, 1, l.restarted()))
			l.c.Send(publish("in", "x", 2, 7, true))
			l.c.Expect(ack(pubrec, 7))
			wantNoDelivery(t, l.s.Deliveries())

			l.c.Stall()
			sendAll(l.s, message("out", "2", q)) // in the write itself
			synctest.Wait()
			l.c.Abort()
			l.again(true)
			l.c.Expect(publish("out", "1", q, 1, true), publish("out", "2", q, 2, true))
			l.c.Send(ack(pubrel, 7))
			l.c.Expect(ack(pubcomp, 7))
			for id := range uint16(2) {
				l.c.Complete(frames.Publish{Message: frames.Message{QoS: q}, ID: id + 1})
			}
			wantReceipts(t, l.acks, 2)
			l.wantGone()
		})
	})
}
