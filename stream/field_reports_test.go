package stream_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// Faults that users of other clients have reported. These tests cover the reports without a test
// elsewhere.

// paho.mqtt.golang #563
func TestAReconnectAloneCompletesNoPublish(t *testing.T) {
	for _, present := range []bool{false, true} {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			o := faultOptions(v)
			o.KeepSession, o.Window = true, 10
			acks := make(chan stream.Receipt, 2)
			s, c := connected(t, b, o)
			offer(s, 0, 1, atLeast, acks)
			offer(s, 1, 2, exactly, acks)
			nextPublishes(t, c, 2)
			for range 3 {
				c = droppedAndBack(t, s, b, c, present)
				again := nextPublishes(t, c, 2)
				c.ExpectQuiet(time.Second)
				wantReceipts(t, acks, 0)
				if again[0].ID != 1 || again[1].ID != 2 {
					t.Fatalf("retransmitted as %d and %d", again[0].ID, again[1].ID)
				}
			}
			c.Send(ack(puback, 1), ack(pubrec, 2))
			c.Expect(ack(pubrel, 2))
			c.Send(ack(pubcomp, 2))
			wantReceipt(t, acks, 0)
			wantReceipt(t, acks, 1)
		})
	}
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) { // here with a clean session
		acks := make(chan stream.Receipt, 1)
		s, c := connected(t, b, faultOptions(v))
		offer(s, 0, 1, atLeast, acks)
		nextPublishes(t, c, 1)
		c.Drop()
		wantReceipt(t, acks, 0, stream.ErrUnconfirmed)
		b.Handshake(false).ExpectQuiet(time.Second)
		wantReceipts(t, acks, 0)
	})
}

// paho.mqtt.golang #630
func TestQoS0WhileReconnectingIsNoSuccessUntilItIsWritten(t *testing.T) {
	for _, comesBack := range []bool{true, false} {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			acks := make(chan stream.Receipt, 2)
			s, c := connected(t, b, faultOptions(v))
			c.Drop()
			lost(t, s)
			offer(s, 0, 2, atMost, acks)
			elapse(faultPause - 1)
			wantReceipts(t, acks, 0)
			if comesBack {
				c = b.Handshake(false)
				c.Expect(publish("n", "0", atMost, 0, false), publish("n", "1", atMost, 0, false))
				wantReceipt(t, acks, 0)
				wantReceipt(t, acks, 1)
				return
			}
			s.Close()
			wantReceipt(t, acks, 0, stream.ErrNotSent, stream.ErrClosed)
			wantReceipt(t, acks, 1, stream.ErrNotSent, stream.ErrClosed)
		})
	}
}

// rumqtt #664
func TestAnUnknownPubrelAtEachConnectionBreaksNone(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		o := faultOptions(v)
		o.KeepSession = true
		s, c := connected(t, b, o)
		for range 5 {
			c.Send(ack(pubrel, 9))
			c.Expect(pubcompUnknown(9))
			c.ExpectQuiet(10 * time.Second)
			c = droppedAndBack(t, s, b, c, true)
		}
		if got := len(b.Dials()); got != 6 {
			t.Errorf("%d connections, want 6", got)
		}
	})
}

// paho.mqtt.golang #731, #251, #520
func TestRetransmissionsKeepTheOrderAndTheWindow(t *testing.T) {
	const before, window = 10, 2
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		o := faultOptions(v)
		o.KeepSession, o.Store, o.Window = true, flow.NewMemoryStore(), before
		acks := make(chan stream.Receipt, 2*before)
		s, c := connected(t, b, o)
		for n := range before {
			offer(s, n, n+1, frames.QoS(1+n%2), acks)
		}
		nextPublishes(t, c, before)
		s.Close()
		wantReceipts(t, acks, before) // each of the publications has a Receipt with ErrUnconfirmed

		o.Window, o.Ack = window, acks // the next client has a smaller window
		s = open(t, b, o)
		c = b.Handshake(true)
		offer(s, before, before+1, atLeast, acks)
		next := 0
		take := func() frames.Publish {
			p := streamtest.Next[frames.Publish](c)
			known := next < before
			if string(p.Payload) != string(numbered(next, 0).Payload) || p.DUP != known || known && p.ID != uint16(next+1) {
				t.Fatalf("publication %d is %+v", next, p)
			}
			next++
			return p
		}
		out := []frames.Publish{take(), take()}
		for len(out) > 0 {
			c.ExpectQuiet(time.Second)
			c.Complete(out[0])
			if out = out[1:]; next <= before {
				out = append(out, take())
			}
		}
		wantReceipts(t, acks, before+1)
	})
}

// paho.golang #160
func TestAckAfterAReconnectAcksNotTheNextMessageOfTheIdentifier(t *testing.T) {
	for _, q := range []frames.QoS{atLeast, exactly} {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			kind := map[frames.QoS]frames.Type{atLeast: puback, exactly: pubrec}[q]
			s, c := connected(t, b, faultOptions(v)) // in a clean session each connection begins again with identifier 1
			c.Send(publish("t", "old", q, 1, false), publish("t", "older", q, 2, false))
			old := wantDelivery(t, s.Deliveries(), "t", "old")
			older := wantDelivery(t, s.Deliveries(), "t", "older")
			c = droppedAndBack(t, s, b, c, false)
			c.Send(publish("t", "new", q, 1, false))
			fresh := wantDelivery(t, s.Deliveries(), "t", "new")
			old.Ack()
			older.Ack()
			old.Ack()
			c.ExpectQuiet(time.Second)
			fresh.Ack()
			c.Expect(ack(kind, 1))
			c.ExpectQuiet(time.Second)
		})
	}
}

// paho.mqtt.golang #613: however the connection ends, every publish has a result.
func TestEveryPublishHasAResultHoweverItsConnectionEnds(t *testing.T) {
	for name, end := range map[string]func(*streamtest.Conn){
		"closed":    (*streamtest.Conn).Drop,
		"reset":     (*streamtest.Conn).Abort,
		"violation": func(c *streamtest.Conn) { c.SendBytes([]byte{0xf0, 0}) },
		"silence":   func(*streamtest.Conn) { elapse(time.Hour) },
		"no reading": func(c *streamtest.Conn) {
			c.Stall()
			elapse(time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				o := faultOptions(v)
				o.Window, o.Reconnect = 10, never()
				s, c := connected(t, b, o)
				var calls []<-chan error
				for q := range exactly + 1 {
					calls = append(calls, goPublish(s, message("t", "", q)))
					synctest.Wait()
				}
				nextPublishes(t, c, 3)
				end(c)
				wantError(t, outcome(t, calls[0]), nil)
				for _, call := range calls[1:] {
					wantError(t, outcome(t, call), stream.ErrUnconfirmed)
				}
			})
		})
	}
}

// E7: Close returns at once during a TLS handshake in which the broker never answers.
func TestCloseDuringTheTLSHandshakeReturnsAtOnce(t *testing.T) {
	for _, answer := range []string{"", "\x16\x03\x03"} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, err := stream.Open("mqtts://broker", with(b, nil))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c := b.Accept()
			c.SendBytes([]byte(answer))
			synctest.Wait()
			if c.Bytes() == 0 {
				t.Fatal("the handshake has not begun")
			}
			if err := callClose(t, s).after(0); err != nil {
				t.Fatal(err)
			}
			wantEnded(t, s)
			select {
			case err := <-inBackground(func() error { _, err := s.Subscribe(t.Context(), filterOf("f", 0)); return err }):
				if !errors.Is(err, stream.ErrClosed) {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Error("Subscribe waits")
			}
		})
	}
}
