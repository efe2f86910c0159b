package stream_test

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// The statements named here are those of MQTT 5.

// The bytes of every packet that the client can send, compared without our codec: the flags
// [MQTT-2.1.3-1], the lengths of empty properties [MQTT-2.2.2-1], and the options of a filter
// [MQTT-3.8.3-5].
func TestEveryPacketOfMQTT5OnTheWire(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, faultOptions(frames.V5))
		c := b.Accept()
		c.ExpectConnect()
		c.Send(frames.Connack{Properties: &frames.ConnackProperties{NoSubscriptionIDs: true}})
		up(t, s)
		call := callSubscribe(t.Context(), t, s, filterOf("a/+", atMost),
			frames.Filter{Topic: "b", QoS: exactly, NoLocal: true, RetainAsPublished: true, RetainHandling: frames.SendNoRetained})
		wantBytes(t, c, "82 0d ffff 00 0003 612f2b 00 0001 62 2e")
		c.SendBytes([]byte{0x90, 5, 0xFF, 0xFF, 0, 0, 2})
		sub := call.granted()
		in := sub.Deliveries()

		for _, row := range []struct {
			q             frames.QoS
			want, answers string // one answer for each packet
		}{
			{atMost, "30 05 0001 74 00 70", ""},
			{atLeast, "32 07 0001 74 0001 00 70", "40020001"},
			{exactly, "34 07 0001 74 0002 00 70|62 02 0002", "50020002|70020002"},
		} {
			published := goPublish(s, message("t", "p", row.q))
			answers := strings.Split(row.answers, "|")
			for i, want := range strings.Split(row.want, "|") {
				wantBytes(t, c, want)
				answer, _ := hex.DecodeString(answers[i])
				c.SendBytes(answer)
			}
			wantError(t, outcome(t, published), nil)
		}

		c.SendBytes(body(0x30, field("b"), 0, "0"))
		wantDelivery(t, in, "b", "0").Ack()
		synctest.Wait()
		c.ExpectNone()
		c.SendBytes(body(0x32, field("b"), 0x12, 0x34, 0, "1"))
		wantDelivery(t, in, "b", "1").Ack()
		wantBytes(t, c, "40 02 1234")
		c.SendBytes(body(0x34, field("b"), 0xFF, 0xFE, 0, "2"))
		wantDelivery(t, in, "b", "2").Ack()
		wantBytes(t, c, "50 02 fffe")
		c.SendBytes([]byte{0x62, 2, 0xFF, 0xFE})
		wantBytes(t, c, "70 02 fffe")

		left := inBackground(func() error { return sub.Unsubscribe(t.Context()) })
		wantBytes(t, c, "a2 0b fffe 00 0003 612f2b 0001 62")
		c.SendBytes([]byte{0xB0, 5, 0xFF, 0xFE, 0, 0, 0})
		wantError(t, outcome(t, left), nil)
		wantBytes(t, c, "c0 00")
		c.SendBytes([]byte{0xD0, 0})
		s.Close()
		wantRaw(t, c, "e000")
	})
}

// A packet that breaks the standard ends the connection. DISCONNECT has a
// code for it, and is the last packet. Nothing of the packet is delivered. Code 0 here is either of
// malformed packet and protocol error.
func TestViolationsOfMQTT5AreAnsweredWithTheirCode(t *testing.T) {
	const malformed, wrong = frames.MalformedPacket, frames.ProtocolViolation
	for name, row := range map[string]struct {
		bytes []byte
		code  frames.ReasonCode
	}{
		"a reserved type":       {body(0x00), 0},
		"a packet of a client":  {body(0xC0), wrong},
		"PUBACK with flags":     {body(0x41, 0, 1), 0}, // [MQTT-2.1.3-1]
		"PUBREL with flags":     {body(0x60, 0, 1), 0}, // [MQTT-3.6.1-1]
		"DISCONNECT with flags": {body(0xE1, 0), 0},    // [MQTT-3.14.1-1]
		"AUTH with flags":       {body(0xF1, 0), 0},    // [MQTT-3.15.1-1]

		"PUBREL with a foreign code":     {body(0x62, 0, 1, 0x80), wrong},
		"SUBACK that nobody waits for":   {body(0x90, 0, 1, 0, 0), wrong}, // [MQTT-2.2.1-6]
		"SUBACK with a foreign code":     {body(0x90, 0, 1, 0, 3), wrong}, // [MQTT-3.9.3-2]
		"UNSUBACK that nobody waits for": {body(0xB0, 0, 1, 0, 0), wrong}, // [MQTT-3.10.4-5]
		"QoS 3":                          {body(0x36, field("t"), 0, 9, 0, "p"), malformed},
		"DUP at QoS 0":                   {body(0x38, field("t"), 0, "p"), 0},
		"packet identifier 0":            {body(0x32, field("t"), 0, 0, 0, "p"), wrong},
		"a topic that is not UTF-8":      {body(0x30, field("\xED\xA0\x80"), 0), 0},
		"a topic with U+0000":            {body(0x30, field("\x00"), 0), 0},
		"a topic with a wildcard":        {body(0x30, field("a/#"), 0), 0},
		"no topic":                       {body(0x30, field(""), 0), wrong},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, faultOptions(frames.V5))
				in := s.Deliveries()
				c.SendBytes(row.bytes)
				if row.code == 0 {
					endsWith(t, c, malformed, wrong)
				} else {
					c.ExpectDisconnectCode(row.code)
				}
				wantViolation(t, lost(t, s), "")
				wantNoDelivery(t, in)
			})
		})
	}
}

// [MQTT-3.8.3-1] [MQTT-3.8.3-2] [MQTT-3.8.3-4] [MQTT-4.8.2-1] V67: such a filter is refused at the
// call, and nothing is sent.
func TestBadFiltersOfMQTT5AreNotSent(t *testing.T) {
	for name, filters := range map[string][]frames.Filter{
		"none":                     nil,
		"empty":                    {{}},
		"QoS 3":                    {{Topic: "a", QoS: 3}},
		"retain handling 3":        {{Topic: "a", RetainHandling: 3}},
		"no local of a share":      {{Topic: "$share/g/a", NoLocal: true}},
		"# in a level":             {{Topic: "a#"}},
		"# before the end":         {{Topic: "#/a"}},
		"+ behind a name":          {{Topic: "a+"}},
		"U+0000":                   {{Topic: "a\x00"}},
		"a surrogate":              {{Topic: "\xED\xA0\x80"}},
		"65,536 bytes":             {{Topic: str(65536)}},
		"a share without a name":   {{Topic: "$share//a"}},
		"a share without a filter": {{Topic: "$share/g"}},
		"a wildcard in its name":   {{Topic: "$share/+/a"}},
		"the last of two":          {{Topic: "a"}, {Topic: "b#"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, faultOptions(frames.V5))
				if _, err := s.Subscribe(aMinute(t), filters...); err == nil {
					t.Error("the filter is accepted")
				}
				synctest.Wait()
				c.ExpectNone()
			})
		})
	}
}

// [MQTT-4.3.3-13] The exchange of a message goes on after the message has expired.
func TestTheExchangeOfAnExpiredMessageGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := faultOptions(frames.V5)
		o.KeepAlive = -1
		s, c := connected(t, b, o)
		in := s.Deliveries()
		c.Send(frames.Publish{ID: 5, Message: frames.Message{Topic: "t", QoS: exactly, Properties: &frames.Properties{Expiry: time.Second}}})
		d := wantDelivery(t, in, "t", "")
		elapse(time.Hour)
		d.Ack()
		c.Expect(ack(pubrec, 5))
		elapse(time.Hour)
		c.Send(ack(pubrel, 5))
		c.Expect(ack(pubcomp, 5))
	})
}

// [MQTT-6.0.0-1] [MQTT-6.0.0-2] [MQTT-6.0.0-3]
func TestWebSocketsCarryMQTT5(t *testing.T) {
	overWebSocket(t, "ws://broker", faultOptions(frames.V5), func(t *testing.T, b *streamtest.Broker, s *stream.Session) {
		c, w := upgrade(t, b, selected)
		if got := w.request.Header.Get("Sec-WebSocket-Protocol"); got != "mqtt" {
			t.Errorf("offers %q", got)
		}
		c.ExpectConnect()
		for _, one := range encoded(t, frames.V5, frames.Connack{}, publish("f", "1", 1, 1, false)) {
			w.frame(wsBinary, true, []byte{one}) // a packet in many frames
		}
		in := s.Deliveries()
		wantDelivery(t, in, "f", "1").Ack()
		c.Expect(ack(puback, 1))
		w.frame(wsBinary, true, encoded(t, frames.V5, publish("f", "2", 1, 2, false), publish("f", "3", 1, 3, false)))
		wantDelivery(t, in, "f", "2").Ack()
		wantDelivery(t, in, "f", "3").Ack()
		c.Expect(ack(puback, 2), ack(puback, 3))
		w.frame(wsText, true, encoded(t, frames.V5, publish("f", "text", 1, 1, false)))
		lost(t, s)
		wantNoDelivery(t, in)
		if slices.ContainsFunc(w.opcodes, func(o byte) bool { return o != wsBinary && o != wsClose }) {
			t.Errorf("frames of other kinds: %v", w.opcodes)
		}
	})
}
