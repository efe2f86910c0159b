package stream_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// accepted returns the changes that store an accepted publication. With a nonzero id they also
// store that it was sent with this packet identifier.
func accepted(seq uint64, m frames.Message, id uint16) []flow.Change {
	changes := []flow.Change{{Kind: flow.Accepted, Seq: seq, Message: m}}
	if id != 0 {
		changes = append(changes, flow.Change{Kind: flow.Assigned, Seq: seq, ID: id})
	}
	return changes
}

// The client sends the publications in flight first, in their order. They keep to the window, even
// if the window is now smaller. Queued publications follow without DUP. Options.Ack receives the
// Receipts of all these publications. The Receipts have no tags, because tags are not stored.
func TestARecoveredSessionGoesOnWhereItWas(t *testing.T) {
	for _, window := range []int{1, 2, 4} {
		t.Run(fmt.Sprintf("window %d", window), func(t *testing.T) {
			throughout(t, stream.Options{Window: 4}, func(t *testing.T, l *life) {
				qos := []frames.QoS{2, 1, 2, 1, 2, 1}
				for i, q := range qos {
					l.s.Publishes() <- stream.Publishing{Message: message("out", fmt.Sprint(i+1), q), Tag: i + 1}
				}
				l.c.Expect(publish("out", "1", 2, 1, false), publish("out", "2", 1, 2, false), publish("out", "3", 2, 3, false), publish("out", "4", 1, 4, false))
				l.c.Send(ack(pubrec, 3))
				l.c.Expect(ack(pubrel, 3))

				l.o.Window = window
				l.down()
				if st := l.s.Stats(); st.InFlight != 4 || st.Queued != 2 {
					t.Errorf("before the connection: %d in flight, %d queued", st.InFlight, st.Queued)
				}
				flushed := inBackground(func() error { return l.s.Flush(t.Context()) })
				wantPending(t, flushed)
				l.s.Publishes() <- stream.Publishing{Message: message("out", "7", 1), Tag: "new"}
				l.up(true)
				window := window
				if !l.restarted() {
					window = 4
				}

				again := []frames.Packet{
					publish("out", "1", 2, 1, true), publish("out", "2", 1, 2, true), ack(pubrel, 3), publish("out", "4", 1, 4, true),
					publish("out", "5", 2, 5, false), publish("out", "6", 1, 6, false), publish("out", "7", 1, 7, false),
				}
				var open []frames.Packet // sent on this connection, not acknowledged
				for len(again) > 0 || len(open) > 0 {
					for len(again) > 0 && len(open) < window {
						l.c.Expect(again[0])
						open, again = append(open, again[0]), again[1:]
					}
					synctest.Wait()
					l.c.ExpectNone()
					switch p := open[0].(type) {
					case frames.Publish:
						l.c.Complete(p)
					case frames.Ack:
						l.c.Send(ack(pubcomp, p.ID))
					}
					open = open[1:]
				}
				if err := takeFrom(t, flushed); err != nil {
					t.Error(err)
				}
				for i, r := range wantReceipts(t, l.acks, 7) {
					var tag any
					switch {
					case i == 6:
						tag = "new"
					case !l.restarted():
						tag = i + 1
					}
					if r.Err != nil || string(r.Payload) != fmt.Sprint(i+1) || r.ID != uint16(i+1) || r.Tag != tag {
						t.Errorf("Receipt %d: %+v", i+1, r)
					}
				}
				if st := l.s.Stats(); st.InFlight != 0 || st.Queued != 0 {
					t.Errorf("at the end: %+v", st)
				}
				l.wantGone()
			})
		})
	}
}

// Publications are sent in the order of acceptance, not of identifiers.
func TestARecoveredSessionKeepsItsOrderAcrossTheWrapOfIdentifiers(t *testing.T) {
	onEveryStore(t, func(t *testing.T, b *streamtest.Broker, m *medium) {
		var changes []flow.Change
		var want []frames.Packet
		seq := uint64(1 << 40)
		id := uint16(65_530)
		for id != 6 {
			text, q := fmt.Sprint(seq), frames.QoS(1+seq%2)
			changes = append(changes, accepted(seq, message("out", text, q), id)...)
			if q == 2 && id%3 == 0 {
				changes = append(changes, flow.Change{Kind: flow.Released, Seq: seq})
				want = append(want, ack(pubrel, id))
			} else {
				want = append(want, publish("out", text, q, id, true))
			}
			seq++
			if id++; id == 0 {
				id = 1
			}
		}
		changes = append(changes, accepted(seq, message("out", "queued", 2), 0)...)
		want = append(want, publish("out", "queued", 2, 6, false))
		m.prepare(t, "kept", changes...)

		l := &life{t: t, b: b, medium: m, way: kill, o: stream.Options{Window: len(want)}}
		l.boot()
		if st := l.s.Stats(); st.InFlight != len(want)-1 || st.Queued != 1 {
			t.Errorf("%d in flight, %d queued", st.InFlight, st.Queued)
		}
		l.up(true)
		l.c.Expect(want...)
		l.again(true)
		want[len(want)-1] = publish("out", "queued", 2, 6, true)
		l.c.Expect(want...)
		for _, p := range want {
			switch p := p.(type) {
			case frames.Publish:
				l.c.Complete(p)
			case frames.Ack:
				l.c.Send(ack(pubcomp, p.ID))
			}
		}
		wantReceipts(t, l.acks, len(want))
		l.wantGone()
	})
}

// The identifiers of recovered publications stay in use. Inbound messages with the same identifiers
// are independent of them.
func TestRecoveredIdentifiersAreNotGivenOutAgain(t *testing.T) {
	onEveryStore(t, func(t *testing.T, b *streamtest.Broker, m *medium) {
		changes := accepted(1, message("out", "1", 2), 65_535)
		changes = append(changes, accepted(2, message("out", "2", 1), 1)...)
		changes = append(changes, flow.Change{Kind: flow.Received, ID: 2}, flow.Change{Kind: flow.Received, ID: 65_535})
		m.prepare(t, "kept", changes...)
		l := &life{t: t, b: b, medium: m, way: kill, o: stream.Options{Window: 4}}
		l.boot()
		l.up(true)
		sendAll(l.s, message("out", "3", 2), message("out", "4", 1))
		l.c.Expect(publish("out", "1", 2, 65_535, true), publish("out", "2", 1, 1, true), publish("out", "3", 2, 2, false), publish("out", "4", 1, 3, false))
		l.c.Send(publish("in", "had that", 2, 2, true), ack(pubrel, 65_535))
		l.c.Expect(ack(pubcomp, 65_535), ack(pubrec, 2))
		wantNoDelivery(t, l.s.Deliveries())
		l.c.Send(ack(pubrel, 2), publish("in", "new", 2, 65_535, false))
		l.c.Expect(ack(pubcomp, 2))
		wantDelivery(t, l.s.Deliveries(), "in", "new")
	})
}

// K8: Open with another client identifier fails and leaves the store unchanged. The error gives the
// identifier that the session belongs to.
func TestTheSessionOfAnotherClientIsRefusedAndLeftAlone(t *testing.T) {
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprintf("KeepSession %v", keep), func(t *testing.T) {
			onEveryStore(t, func(t *testing.T, b *streamtest.Broker, m *medium) {
				changes := append(accepted(1, message("out", "1", 2), 9), accepted(2, message("out", "2", 1), 0)...)
				m.prepare(t, "kept", append(changes, flow.Change{Kind: flow.Received, ID: 7})...)
				before := fmt.Sprintf("%+v", m.holds(t, "kept"))

				_, err := stream.Open("mqtt://broker", with(b, &stream.Options{ClientID: "other", KeepSession: keep, ClearSession: !keep, Store: m.boot()}))
				var owner *flow.OwnerError
				if !errors.As(err, &owner) || owner.Owner != "kept" || owner.Asked != "other" {
					t.Errorf("error %v", err)
				}
				b.ExpectNoDial(time.Minute)
				if after := fmt.Sprintf("%+v", m.holds(t, "kept")); after != before {
					t.Errorf("the store holds %s, want %s", after, before)
				}
			})
		})
	}
}

// K8: a clean session on a store that holds a session discards it [MQTT-3.1.2-6].
func TestACleanSessionDiscardsTheStoredOneAndSaysSo(t *testing.T) {
	onEveryStore(t, func(t *testing.T, b *streamtest.Broker, m *medium) {
		var changes []flow.Change
		for seq := uint64(1); seq <= 2; seq++ {
			changes = append(changes, accepted(seq, message("old", fmt.Sprint(seq), frames.QoS(seq)), uint16(seq))...)
			changes = append(changes, accepted(seq+2, message("old", fmt.Sprint(seq+2), frames.QoS(seq)), 0)...)
		}
		m.prepare(t, "kept", append(changes, flow.Change{Kind: flow.Released, Seq: 2}, flow.Change{Kind: flow.Received, ID: 7})...)
		var log logBook
		acks := make(chan stream.Receipt, 10)
		o := &stream.Options{ClientID: "kept", Store: m.boot(), ClearSession: true, Ack: acks, Logger: log.logger(), Window: 10}
		s := open(t, b, o)
		for i, r := range wantReceipts(t, acks, 4) {
			seq, fate, id := i+1, stream.ErrUnconfirmed, uint16(i+1)
			if seq > 2 {
				fate, id = stream.ErrNotSent, 0
			}
			if string(r.Payload) != fmt.Sprint(seq) || r.ID != id || r.Tag != nil || !strings.Contains(r.Err.Error(), "clean session") {
				t.Errorf("Receipt %+v", r)
			}
			wantError(t, r.Err, fate)
		}
		if n := log.count("discarded"); n != 1 {
			t.Errorf("the discard was logged %d times", n)
		}
		c := b.Accept()
		if !c.Handshake(false).CleanSession {
			t.Error("the broker was not asked for a clean session")
		}
		<-s.Online()
		synctest.Wait()
		c.ExpectNone()
		c.Send(publish("in", "new", 2, 7, false))
		wantDelivery(t, s.Deliveries(), "in", "new").Ack()
		c.Expect(ack(pubrec, 7))
		sendAll(s, message("new", "1", 1))
		c.Expect(publish("new", "1", 1, 1, false))
		s.Close()
		if snap := m.holds(t, "kept"); !snap.Empty() { // the clean session has stored no state of its own
			t.Errorf("the store holds %+v", snap)
		}
	})
}

// If the store cannot discard the old session, Open fails.
func TestACleanSessionThatCannotDiscardDoesNotBegin(t *testing.T) {
	onEveryStore(t, func(t *testing.T, b *streamtest.Broker, m *medium) {
		m.prepare(t, "kept", accepted(1, message("old", "1", 1), 1)...)
		acks := make(chan stream.Receipt, 10)
		p := &process{Store: m.boot(), b: b}
		p.full.Store(true)
		_, err := stream.Open("mqtt://broker", with(b, &stream.Options{ClientID: "kept", Store: p, ClearSession: true, Ack: acks}))
		wantError(t, err, errFull)
		wantReceipts(t, acks, 0)
		if snap := m.holds(t, "kept"); len(snap.Publications) != 1 {
			t.Errorf("the store holds %+v", snap)
		}
	})
}

// A client of either protocol version may continue the session of its client identifier.
func TestASessionChangesItsVersion(t *testing.T) {
	for _, to := range []frames.Version{frames.V31, frames.V311} {
		t.Run("to "+to.String(), func(t *testing.T) {
			throughout(t, stream.Options{Version: frames.V31 + frames.V311 - to, Window: 3}, func(t *testing.T, l *life) {
				if !l.restarted() {
					return // the store does not hold a protocol version
				}
				sendAll(l.s, message("out", "1", 2), message("out", "2", 2), message("out", "3", 1), message("out", "4", 1))
				l.c.Expect(publish("out", "1", 2, 1, false), publish("out", "2", 2, 2, false), publish("out", "3", 1, 3, false))
				l.c.Send(ack(pubrec, 1), publish("in", "x", 2, 7, false))
				l.c.Expect(ack(pubrel, 1))
				wantDelivery(t, l.s.Deliveries(), "in", "x").Ack()
				l.c.Expect(ack(pubrec, 7))
				l.o.Version = to
				l.again(true)
				if v := l.c.Version(); v != to {
					t.Fatalf("connected with %v", v)
				}
				l.c.Expect(ack(pubrel, 1), publish("out", "2", 2, 2, true), publish("out", "3", 1, 3, true))
				l.c.Send(publish("in", "x", 2, 7, true))
				l.c.Expect(ack(pubrec, 7))
				l.c.Send(ack(pubrel, 7), ack(pubcomp, 1))
				l.c.Expect(ack(pubcomp, 7), publish("out", "4", 1, 4, false))
				wantNoDelivery(t, l.s.Deliveries())
			})
		})
	}
}

// Open fails if the new protocol version cannot encode a stored publication. The store stays
// unchanged, so that a client of the old version can continue the session.
func TestAPublicationThatTheNewVersionCannotSendIsNamed(t *testing.T) {
	onEveryStore(t, func(t *testing.T, b *streamtest.Broker, m *medium) {
		long := message(strings.Repeat("t", 40_000), "1", 1) // 3.1 allows 32,767 bytes
		m.prepare(t, "kept", accepted(5, long, 9)...)
		for range 2 {
			o := &stream.Options{ClientID: "kept", KeepSession: true, Version: frames.V31, Store: m.boot()}
			_, err := stream.Open("mqtt://broker", with(b, o))
			var invalid *frames.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != "topic" {
				t.Fatalf("error %.200v", err)
			}
			wantText(t, err, "publication 5 with packet identifier 9")
		}
		l := &life{t: t, b: b, medium: m, way: kill}
		l.boot()
		l.up(true)
		l.c.Expect(frames.Publish{Message: long, ID: 9, DUP: true})
	})
}
