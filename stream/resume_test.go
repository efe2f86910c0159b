package stream_test

import (
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
)

// K1 K2: the session retransmits a PUBLISH with the same identifier and bytes and with DUP set,
// until it receives the ack.
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

// K3: the client stored the PUBREC but did not send the PUBREL. It sends the PUBREL on the next
// connection.
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

// K3: the client could not store the PUBREC, so it sends no PUBREL yet. A new process, which never
// received the PUBREC, sends the PUBLISH again.
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

// K4: the client sends PUBREL again on each connection until PUBCOMP arrives. It never sends the
// PUBLISH again.
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

// K5: the client does not send a PUBACK of the old connection on the new one. The message is
// delivered again.
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

// K6: an acknowledged message is not delivered again. The broker may or may not have received the
// PUBREC, so it may send PUBREL or PUBLISH next.
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
				l.c.Expect(pubcompUnknown(7))
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

// K6: a consumer has not acknowledged a message. The next process delivers that message again. The
// same process does not, because the consumer still has it.
func TestAnUnsettledQoS2MessageIsForTheNextProcess(t *testing.T) {
	throughout(t, stream.Options{}, func(t *testing.T, l *life) {
		l.c.Send(publish("in", "x", 2, 7, false))
		d := wantDelivery(t, l.s.Deliveries(), "in", "x")
		l.again(true)
		l.c.Send(publish("in", "x", 2, 7, true))
		if l.restarted() {
			d.Ack() // no effect after a restart, because the session of this delivery has ended
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

// K7, U24: the broker has lost the session. Publications in flight are sent without DUP, or end
// with ErrSessionLost if PUBREC has arrived. The client forgets inbound identifiers and removes
// them from the store.
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
		l.c.Expect(publish("out", "2", 1, 2, false), publish("out", "3", 2, 3, false), publish("out", "4", 1, 4, false))
		wantError(t, (<-l.acks).Err, stream.ErrUnconfirmed, stream.ErrSessionLost)
		l.wantIdle()
		if st := <-l.s.States(t.Context()); st.Resumed {
			t.Error("State reports a resumed session")
		}
		l.c.Send(publish("in", "new", 2, 7, false))
		wantDelivery(t, l.s.Deliveries(), "in", "new")
		synctest.Wait()

		// From now on the session continues as an ordinary session, in the next process too.
		l.kill()
		if snap := l.medium.holds(t, "kept"); len(snap.Received) != 0 || len(snap.Publications) != 3 {
			t.Errorf("on the store: %+v", snap)
		}
		l.boot()
		l.up(true)
		l.c.Expect(publish("out", "2", 1, 2, true), publish("out", "3", 2, 3, true), publish("out", "4", 1, 4, true))
		l.c.Send(ack(puback, 2), ack(pubrec, 3), ack(puback, 4))
		l.c.Expect(ack(pubrel, 3))
		l.c.Send(ack(pubcomp, 3))
		wantReceipts(t, l.acks, 3)
		l.wantGone()
	})
}

// K9: a failed write ends the connection, but no session state is lost [MQTT-4.1.0-2].
func TestAFailedWriteCostsNoState(t *testing.T) {
	bothAcknowledged(t, func(t *testing.T, q frames.QoS) {
		throughout(t, stream.Options{Window: 2}, func(t *testing.T, l *life) {
			l.c.Send(publish("in", "x", 2, 7, false))
			d := wantDelivery(t, l.s.Deliveries(), "in", "x")
			l.c.Stall()
			d.Ack()
			synctest.Wait()
			sendAll(l.s, message("out", "1", q)) // goes into the batch behind the blocked write
			synctest.Wait()
			l.c.Abort()
			l.again(true)
			// The first publication was never sent. A new process does not know that, so it sets
			// DUP.
			l.c.Expect(publish("out", "1", q, 1, l.restarted()))
			l.c.Send(publish("in", "x", 2, 7, true))
			l.c.Expect(ack(pubrec, 7))
			wantNoDelivery(t, l.s.Deliveries())

			l.c.Stall()
			sendAll(l.s, message("out", "2", q)) // part of the failing write
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
