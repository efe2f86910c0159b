package stream_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// kept returns the options of a session that survives its connections.
func kept(window int, acks chan stream.Receipt) *stream.Options {
	return &stream.Options{ClientID: "kept", KeepSession: true, Window: window, Ack: acks}
}

func sendAll(s *stream.Session, messages ...frames.Message) {
	for _, m := range messages {
		s.Publishes() <- stream.Publishing{Message: m}
	}
}

// K1, K2: a retransmission has the identifier and the bytes of the first transmission, with DUP
// set. Only the ack completes a publication.
func TestUnacknowledgedPublicationsAreSentAgainInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 10)
		s, c := connected(t, b, kept(3, acks))
		sendAll(s, message("a", "1", 1), message("a", "2", 2), message("a", "3", 1), message("a", "4", 2), message("a", "5", 0))
		c.Expect(publish("a", "1", 1, 1, false), publish("a", "2", 2, 2, false), publish("a", "3", 1, 3, false))
		synctest.Wait()
		c.ExpectNone() // the window is full
		c.Send(ack(puback, 3))
		c.Expect(publish("a", "4", 2, 4, false), publish("a", "5", 0, 0, false))
		c.Drop()

		c = b.Handshake(true)
		c.Expect(publish("a", "1", 1, 1, true), publish("a", "2", 2, 2, true), publish("a", "4", 2, 4, true))
		synctest.Wait()
		if len(acks) != 2 {
			t.Fatalf("%d Receipts before the acks, want only the 2 of publications 3 and 5", len(acks))
		}
		c.Send(ack(puback, 1), ack(pubrec, 2), ack(pubrec, 4))
		c.Expect(ack(pubrel, 2), ack(pubrel, 4))
		c.Send(ack(pubcomp, 4), ack(pubcomp, 2))
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if r := <-acks; r.Err != nil {
				t.Errorf("receipt of %s: %v", r.Payload, r.Err)
			}
		}
	})
}

// K3, K4: after PUBREC, every new connection begins with PUBREL instead of PUBLISH. The session
// never sends PUBLISH again.
func TestPubrelIsSentAgainAndThePublishIsNot(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 10)
		s, c := connected(t, b, kept(3, acks))
		sendAll(s, message("a", "1", 2), message("a", "2", 2))
		c.Expect(publish("a", "1", 2, 1, false), publish("a", "2", 2, 2, false))
		c.Send(ack(pubrec, 1))
		c.Expect(ack(pubrel, 1))
		c.Drop()
		for range 3 {
			c = b.Handshake(true)
			c.Expect(ack(pubrel, 1), publish("a", "2", 2, 2, true))
			c.Abort()
		}
		c = b.Handshake(true)
		c.Expect(ack(pubrel, 1), publish("a", "2", 2, 2, true))
		c.Send(ack(pubcomp, 1), ack(pubrec, 2))
		c.Expect(ack(pubrel, 2))
		c.Send(ack(pubcomp, 2))
		for range 2 {
			if r := <-acks; r.Err != nil {
				t.Error(r.Err)
			}
		}
	})
}

// K5: the session does not send the ack of an old connection on a new one.
func TestASettleAfterTheConnectionIsGoneIsHarmless(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, kept(1, nil))
		c.Send(publish("in", "one", 1, 7, false), publish("in", "two", 2, 8, false))
		one, two := <-s.Deliveries(), <-s.Deliveries()
		c.Drop()
		c = b.Handshake(true)
		<-s.Online()
		one.Ack()
		synctest.Wait()
		c.ExpectNone()
		c.Send(publish("in", "one", 1, 7, true), publish("in", "two", 2, 8, true))
		again := <-s.Deliveries()
		if string(again.Payload) != "one" || !again.Duplicate {
			t.Errorf("delivered again: %q, duplicate %v", again.Payload, again.Duplicate)
		}
		again.Ack()
		c.Expect(ack(puback, 7))
		synctest.Wait()
		c.ExpectNone() // a duplicate gets no ack while the consumer still has the first copy
		two.Ack()
		c.Expect(ack(pubrec, 8))
		c.Send(ack(pubrel, 8))
		c.Expect(ack(pubcomp, 8))
		if st := s.Stats(); st.Inbox != 0 || st.Unacked != 0 {
			t.Errorf("stats %+v, want nothing unacknowledged", st)
		}
	})
}

// K6: after the client has sent PUBREC, it does not deliver the message again.
func TestAnInboundQoS2MessageIsDeliveredOnceAcrossACut(t *testing.T) {
	for _, after := range []string{"PUBREL", "PUBLISH"} {
		t.Run(after, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, kept(1, nil))
				c.Send(publish("in", "x", 2, 7, false))
				d := <-s.Deliveries()
				d.Ack()
				c.Expect(ack(pubrec, 7))
				c.Drop()
				c = b.Handshake(true)
				if after == "PUBLISH" {
					c.Send(publish("in", "x", 2, 7, true))
					c.Expect(ack(pubrec, 7))
				}
				c.Send(ack(pubrel, 7))
				c.Expect(ack(pubcomp, 7))
				synctest.Wait()
				if n := len(s.Deliveries()); n != 0 {
					t.Errorf("%d more deliveries", n)
				}
			})
		})
	}
}

// K7, U24: the broker has lost the session. A PUBLISH in flight is sent without DUP. A publication
// past PUBREC ends, and no PUBREL is sent. The client forgets the identifiers of inbound messages.
func TestABrokerThatLostTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 10)
		s, c := connected(t, b, kept(3, acks))
		sendAll(s, message("a", "1", 2), message("a", "2", 1))
		c.Expect(publish("a", "1", 2, 1, false), publish("a", "2", 1, 2, false))
		c.Send(ack(pubrec, 1), publish("in", "x", 2, 7, false))
		c.Expect(ack(pubrel, 1))
		d := <-s.Deliveries()
		d.Ack()
		c.Expect(ack(pubrec, 7))
		c.Drop()
		c = b.Handshake(false)
		c.Expect(publish("a", "2", 1, 2, false))
		r := <-acks
		if string(r.Payload) != "1" || errors.Is(r.Err, stream.ErrNotSent) {
			t.Errorf("the first Receipt is of %q: %v", r.Payload, r.Err)
		}
		wantError(t, r.Err, stream.ErrUnconfirmed, stream.ErrSessionLost)
		c.Send(ack(puback, 2))
		c.Send(publish("in", "new", 2, 7, false))
		if d := <-s.Deliveries(); string(d.Payload) != "new" {
			t.Errorf("delivered %q, want new", d.Payload)
		}
		if r := <-acks; r.Err != nil {
			t.Error(r.Err)
		}
		synctest.Wait()
		c.ExpectNone()
	})
}

// A clean session: when the connection is lost, publications in flight fail. Queued publications
// are sent on the next connection.
func TestACleanSessionEndsWithItsConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		acks := make(chan stream.Receipt, 10)
		s, c := connected(t, b, &stream.Options{Ack: acks, Window: 2})
		sendAll(s, message("a", "1", 1), message("a", "2", 2), message("a", "3", 2), message("a", "4", 0))
		c.Expect(publish("a", "1", 1, 1, false), publish("a", "2", 2, 2, false))
		c.Drop()
		for _, want := range []string{"1", "2"} {
			if r := <-acks; string(r.Payload) != want || !errors.Is(r.Err, stream.ErrUnconfirmed) {
				t.Errorf("receipt of %s: %v", r.Payload, r.Err)
			}
		}
		c = b.Handshake(false)
		c.Expect(publish("a", "3", 2, 3, false), publish("a", "4", 0, 0, false))
	})
}

// A store passes the session to the next client. That client sends the publications in flight in
// their order, then the queued publications, and recognizes inbound QoS 2 duplicates.
func TestASessionOutlivesTheClientInAStore(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := flow.NewMemoryStore()
		acks := make(chan stream.Receipt, 10)
		o := kept(2, acks)
		o.Store = store
		s, c := connected(t, b, o)
		sendAll(s, message("a", "1", 2), message("a", "2", 1), message("a", "3", 1))
		c.Expect(publish("a", "1", 2, 1, false), publish("a", "2", 1, 2, false))
		c.Send(ack(pubrec, 1), publish("in", "x", 2, 7, false))
		c.Expect(ack(pubrel, 1))
		d := <-s.Deliveries()
		d.Ack()
		c.Expect(ack(pubrec, 7))
		s.Close()
		c.ExpectDisconnect()
		for range 3 {
			if r := <-acks; !errors.Is(r.Err, stream.ErrKept) || !errors.Is(r.Err, stream.ErrClosed) {
				t.Errorf("receipt of %s: %v", r.Payload, r.Err)
			}
		}

		s = open(t, b, o)
		if st := s.Stats(); st.InFlight != 2 || st.Queued != 1 {
			t.Errorf("recovered: %d in flight, %d queued", st.InFlight, st.Queued)
		}
		c = b.Handshake(true)
		c.Expect(ack(pubrel, 1), publish("a", "2", 1, 2, true))
		c.Send(publish("in", "x", 2, 7, true))
		c.Expect(ack(pubrec, 7))
		c.Send(ack(pubrel, 7), ack(pubcomp, 1))
		c.Expect(ack(pubcomp, 7), publish("a", "3", 1, 3, false))
		c.Send(ack(puback, 2), ack(puback, 3))
		for range 3 {
			if r := <-acks; r.Err != nil {
				t.Errorf("receipt of %s: %v", r.Payload, r.Err)
			}
		}
		synctest.Wait()
		if len(s.Deliveries()) != 0 {
			t.Error("a message was delivered again")
		}
		s.Close()
		snap, err := store.Attach("kept")
		if err != nil || !snap.Empty() {
			t.Errorf("the store holds %+v, %v", snap, err)
		}
	})
}

// K8: Open with another client identifier fails. The error gives the identifier that the session
// belongs to. ClearSession ends the stored session and completes the publications of that
// session with an error.
func TestAStoreThatHoldsAnotherSession(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := flow.NewMemoryStore()
		o := kept(1, nil)
		o.Store = store
		s, c := connected(t, b, o)
		sendAll(s, message("a", "1", 1), message("a", "2", 1))
		c.ExpectType(frames.TypePublish)

		if _, err := stream.Open("mqtt://broker", with(b, o)); !errors.Is(err, flow.ErrInUse) {
			t.Errorf("second client on the store: %v", err)
		}
		s.Close()

		other := *o
		other.ClientID = "other"
		_, err := stream.Open("mqtt://broker", with(b, &other))
		var owner *flow.OwnerError
		if !errors.As(err, &owner) || !strings.Contains(err.Error(), "kept") || !strings.Contains(err.Error(), "other") {
			t.Errorf("another identifier: %v", err)
		}

		acks := make(chan stream.Receipt, 10)
		clean := *o
		clean.KeepSession, clean.ClearSession, clean.Ack = false, true, acks
		s, c = connected(t, b, &clean)
		sendAll(s, message("a", "new", 1))
		c.Expect(publish("a", "new", 1, 1, false)) // no publication of the old session comes before it
		var fates []string
		for range 2 {
			r := <-acks
			fates = append(fates, string(r.Payload)+": "+r.Err.Error())
		}
		if !strings.Contains(fates[0], "1: ") || !strings.Contains(fates[0], "unconfirmed") || !strings.Contains(fates[1], "not sent") {
			t.Errorf("receipts of the old session: %q", fates)
		}
	})
}

// State.Resumed is the session present flag of CONNACK. In 3.1, which has no such flag, it is
// always false.
func TestResumedIsSessionPresent(t *testing.T) {
	for _, v := range versions() {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			o := kept(1, nil)
			o.Version = v
			s := open(t, b, o)
			b.Handshake(true)
			<-s.Online()
			if st := <-s.States(t.Context()); st.Resumed != (v >= frames.V311) {
				t.Errorf("%v: resumed is %v", v, st.Resumed)
			}
		})
	}
}

// A 3.1 broker cannot announce that it lost the session. So a PUBLISH without DUP is a new message,
// even if its identifier still awaits PUBREL.
func TestALostSessionOnMQTT31CostsNoNewMessage(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := kept(1, nil)
		o.Version, o.Store = frames.V31, flow.NewMemoryStore()
		s, c := connected(t, b, o)
		c.Send(publish("in", "old", 2, 7, false), publish("in", "kept", 2, 8, false))
		in := s.Deliveries()
		wantDelivery(t, in, "in", "old").Ack()
		wantDelivery(t, in, "in", "kept").Ack()
		c.Expect(ack(pubrec, 7), ack(pubrec, 8))
		c.Drop()

		c = b.Handshake(false)
		c.Send(publish("in", "new", 2, 7, false), publish("in", "kept", 2, 8, true))
		wantDelivery(t, in, "in", "new").Ack()
		c.Expect(ack(pubrec, 7), ack(pubrec, 8))
		c.Send(ack(pubrel, 7), ack(pubrel, 8))
		c.Expect(ack(pubcomp, 7), ack(pubcomp, 8))
		wantNoDelivery(t, in)
	})
}

// One Write carries all packets that are ready when it begins.
func TestPublicationsThatWaitLeaveInOneWrite(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{Window: 500, Queue: 2000})
		for range 500 {
			sendAll(s, message("a", "payload", 1))
		}
		c := b.Handshake(false)
		<-s.Online()
		synctest.Wait()
		if n := c.Writes(); n != 2 { // one write for CONNECT and one for the batch
			t.Errorf("%d write calls for 500 publications, want 2", n)
		}
		var acks []frames.Packet
		for id := range uint16(500) {
			c.Expect(publish("a", "payload", 1, id+1, false))
			acks = append(acks, publish("in", "x", 1, id+1, false))
		}
		before := c.Writes()
		c.Stall() // the write of the first acks waits
		c.Send(acks...)
		for range 500 {
			(<-s.Deliveries()).Ack()
		}
		synctest.Wait()
		c.Resume()
		synctest.Wait()
		if n := c.Writes() - before; n > 2 { // the blocked write, and one write for all acks that became ready meanwhile
			t.Errorf("%d write calls for 500 acks, want 2 at most", n)
		}
		for id := range uint16(500) {
			c.Expect(ack(puback, id+1))
		}
	})
}

// Publications are sent in the order of acceptance, whatever their QoS.
func TestOrderOfAcceptanceIsOrderOnTheWire(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 1})
		var want []string
		for i := range 30 {
			m := message("a", strings.Repeat("x", i), frames.QoS(i%3))
			want = append(want, string(m.Payload))
			sendAll(s, m)
		}
		var got []string
		x := newTwin(t, 0)
		x.resume()
		for len(got) < len(want) {
			p := streamtest.Next[frames.Packet](c)
			if p, ok := p.(frames.Publish); ok {
				got = append(got, string(p.Payload))
			}
			x.take(p)
			c.Send(x.send...)
			x.send = nil
		}
		if !slices.Equal(got, want) {
			t.Errorf("order on the wire: %q", got)
		}
	})
}
