package stream_test

import (
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// wantBytes requires that the next bytes from the client are want, and that no other byte follows.
func wantBytes(t *testing.T, c *streamtest.Conn, want string) {
	t.Helper()
	want = strings.ReplaceAll(want, " ", "")
	got := make([]byte, len(want)/2)
	if _, err := io.ReadFull(c.Raw(), got); err != nil || hex.EncodeToString(got) != want {
		t.Fatalf("bytes %x, %v; want %s", got, err, want)
	}
	synctest.Wait()
	c.ExpectNone()
}

// The bytes of every packet that the client can send, compared without our codec. The statements
// are [MQTT-2.2.2-1] on flags, [MQTT-2.3.1-1] and [MQTT-2.3.1-5] on packets with and without an
// identifier, [MQTT-2.3.1-6] on the identifiers of acks, and [MQTT-3.3.4-1] on the ack for each
// QoS.
func TestEveryPacketOfTheClientOnTheWire(t *testing.T) {
	for v, connect := range map[frames.Version]string{
		frames.V31:  "10 0f 0006 4d5149736470 03 02 003c 0001 63",
		frames.V311: "10 0d 0004 4d515454 04 02 003c 0001 63",
	} {
		t.Run(v.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s := open(t, b, faultOptions(v))
				c := b.Accept()
				wantBytes(t, c, connect)
				c.Connack(false, frames.Success)
				up(t, s)

				call := callSubscribe(t.Context(), t, s, filterOf("a/+", atMost), filterOf("b", atLeast), filterOf("c", exactly))
				wantBytes(t, c, "82 10 ffff 0003 612f2b 00 0001 62 01 0001 63 02")
				c.SendBytes([]byte{0x90, 5, 0xFF, 0xFF, 0, 1, 2})
				sub := call.granted()
				in := sub.Deliveries()

				published := goPublish(s, message("t", "p", atMost))
				wantBytes(t, c, "30 04 0001 74 70")
				wantError(t, outcome(t, published), nil)
				published = goPublish(s, message("t", "p", atLeast))
				wantBytes(t, c, "32 06 0001 74 0001 70")
				c.SendBytes([]byte{0x40, 2, 0, 1})
				wantError(t, outcome(t, published), nil)
				published = goPublish(s, frames.Message{Topic: "t", QoS: exactly, Retain: true})
				wantBytes(t, c, "35 05 0001 74 0002")
				c.SendBytes([]byte{0x50, 2, 0, 2})
				wantBytes(t, c, "62 02 0002")
				c.SendBytes([]byte{0x70, 2, 0, 2})
				wantError(t, outcome(t, published), nil)

				c.SendBytes(body(0x30, field("b"), "0"))
				wantDelivery(t, in, "b", "0").Ack()
				synctest.Wait()
				c.ExpectNone()
				c.SendBytes(body(0x32, field("b"), 0x12, 0x34, "1"))
				wantDelivery(t, in, "b", "1").Ack()
				wantBytes(t, c, "40 02 1234")
				c.SendBytes(body(0x34, field("b"), 0xFF, 0xFE, "2"))
				wantDelivery(t, in, "b", "2").Ack()
				wantBytes(t, c, "50 02 fffe")
				c.SendBytes([]byte{0x62, 2, 0xFF, 0xFE})
				wantBytes(t, c, "70 02 fffe")

				left := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
				wantBytes(t, c, "a2 0d fffe 0003 612f2b 0001 62 0001 63")
				c.SendBytes([]byte{0xB0, 2, 0xFF, 0xFE})
				wantError(t, outcome(t, left), nil)

				wantBytes(t, c, "c0 00")
				c.SendBytes([]byte{0xD0, 0})
				s.Close()
				wantRaw(t, c, "e000")
			})
		})
	}
}

// [MQTT-3.1.0-2] The client sends one CONNECT on each connection. A session that reconnects uses a
// new connection, and two sessions never share a connection.
func TestEveryConnectionHasOneConnect(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		count := func(c *streamtest.Conn) {
			t.Helper()
			for _, p := range c.Rest() {
				if p.Type() == frames.TypeConnect {
					t.Error("a second CONNECT on the same connection")
				}
			}
		}
		s := open(t, b, faultOptions(v))
		for range 3 {
			c := b.Handshake(false)
			up(t, s)
			if err := outcome(t, goPublish(s, message("t", "", 0))); err != nil {
				t.Error(err)
			}
			c.SendBytes(body(0x00)) // a violation: the session closes the connection and reconnects
			count(c)
			lost(t, s)
		}
		first := b.Handshake(false)
		up(t, s)
		dialed := goDial(t.Context(), t, b, "mqtt://broker", faultOptions(v)) // with the same client identifier
		second := b.Handshake(false)
		if err := outcome(t, dialed); err != nil {
			t.Fatal(err)
		}
		first.ExpectQuiet(time.Second)
		second.ExpectQuiet(time.Second)
		s.Close()
		count(first)
	})
}

// ownProperties are the properties of a CONNECT of MQTT 5 with the Options of the tests: Receive
// Maximum, Maximum Packet Size, Request Response Information.
const ownProperties = "\x0A" + "\x21\xFF\xFF" + "\x27\x00\x10\x00\x00" + "\x19\x01"

// A will message is ASCII text in 3.1 and any bytes in 3.1.1. The form on the wire is the same, so
// the client sends any bytes in both versions.
func TestWillOfAnyBytesIsSentAsItIs(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		o := faultOptions(v)
		o.Will = &frames.Message{Topic: "w", Payload: all}
		open(t, b, o)
		c := b.Accept()
		name := "\x00\x04MQTT\x04"
		if v == frames.V31 {
			name = "\x00\x06MQIsdp\x03"
		}
		properties, ofWill := "", ""
		if v >= frames.V5 {
			name = "\x00\x04MQTT\x05"
			properties, ofWill = ownProperties, "\x00"
		}
		rest := name + "\x06\x00\x3C" + properties + "\x00\x01c" + ofWill + "\x00\x01w" + "\x01\x00" + string(all)
		wantBytes(t, c, hex.EncodeToString([]byte("\x10"+string(header(len(rest))[1:])+rest)))
	})
}

// [MQTT-3.1.2-6] A clean session ignores state in a store and leaves no state there, even if
// exchanges are in progress at its end.
func TestACleanSessionLeavesNothingInAStore(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := kept(5, nil)
		o.Store = flow.NewMemoryStore()
		underWay := func(s *stream.Session, c *streamtest.Conn) {
			t.Helper()
			sendAll(s, message("a", "1", 1), message("a", "2", 2), message("a", "3", 2))
			for i, q := range []frames.QoS{1, 2, 2} {
				p := streamtest.Next[frames.Publish](c)
				if p.DUP || p.QoS != q || string(p.Payload) != string('1'+rune(i)) {
					t.Fatalf("sent %+v as number %d", p, i+1)
				}
				if i == 2 {
					c.Send(ack(pubrec, p.ID))
					c.Expect(ack(pubrel, p.ID))
				}
			}
			c.Send(publish("in", "x", 2, 7, false))
			wantDelivery(t, s.Deliveries(), "in", "x").Ack()
			c.Expect(ack(pubrec, 7))
		}
		s, c := connected(t, b, o)
		underWay(s, c)
		s.Close()

		o.KeepSession, o.ClearSession = false, true
		s, c = connected(t, b, o)
		underWay(s, c) // the client sends no stored packet first, and does not recognize the inbound identifier
		c = droppedAndBack(t, s, b, c, false)
		underWay(s, c)
		s.Close()
		snap, err := o.Store.Attach(o.ClientID)
		if err != nil || !snap.Empty() {
			t.Errorf("the store holds %+v, %v", snap, err)
		}
	})
}
