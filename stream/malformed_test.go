package stream_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// M1 to M17 are the numbers of known faults of MQTT clients. Each test is for the faults named
// above it.

var (
	only31  = []frames.Version{frames.V31}
	only311 = []frames.Version{frames.V311}
	eachOf  = []frames.Version{frames.V31, frames.V311}
)

// A violation is a packet that breaks the rules of the standard for brokers.
type violation struct {
	name     string
	bytes    []byte
	want     string           // text that the error must contain
	versions []frames.Version // nil means both versions
}

// closesAtOnce sends each violation. The session must deliver no message from it and close the
// connection at once, without DISCONNECT. State.Err and a pending call must give the reason, and
// the session must reconnect after its interval.
func closesAtOnce(t *testing.T, rows []violation) {
	t.Helper()
	for _, row := range rows {
		if row.versions == nil {
			row.versions = eachOf
		}
		t.Run(row.name, func(t *testing.T) {
			inVersions(t, row.versions, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				in := subscribed(t, s, c, "#", frames.ExactlyOnce).Deliveries()
				published := goPublish(s, message("out", "x", frames.AtLeastOnce))
				streamtest.Next[frames.Publish](c)

				start := time.Now()
				c.SendBytes(row.bytes)
				c.ExpectClosed()
				wantElapsed(t, start, 0)
				wantViolation(t, lost(t, s), row.want)
				err := outcome(t, published)
				wantError(t, err, stream.ErrUnconfirmed)
				wantViolation(t, err, row.want)

				returns(t, b, s, in, start)
				wantNoDelivery(t, in)
			})
		})
	}
}

// body returns a packet that has the given first byte and body, and the right remaining length. The
// packet may be malformed.
func body(first byte, parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return append([]byte{first, byte(len(b))}, b...)
}

// field returns a string in the form of the standard, with its length in two bytes before it.
func field(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }

// M1
func TestReservedPacketTypesClose(t *testing.T) {
	closesAtOnce(t, []violation{
		{name: "M1 type 0", bytes: body(0x00), want: "packet type 0 is reserved"},
		{name: "M1 type 0 with flags", bytes: body(0x0F), want: "packet type 0 is reserved"},
		{name: "M1 type 0 like an ack", bytes: body(0x00, 0, 1), want: "packet type 0 is reserved"},
		{name: "M1 type 15", bytes: body(0xF0), want: "packet type 15 is reserved"},
		{name: "M1 type 15 with flags", bytes: body(0xFF), want: "packet type 15 is reserved"},
		{name: "M1 type 15 like AUTH of MQTT 5", bytes: body(0xF0, 0), want: "packet type 15 is reserved"},
		{name: "M1 type 0 without a length", bytes: []byte{0x00}, want: "packet type 0 is reserved"},
	})
}

// M2
func TestPacketsOfAClientClose(t *testing.T) {
	for _, v := range eachOf {
		closesAtOnce(t, []violation{
			{"M2 CONNECT", encoded(t, v, frames.Connect{ClientID: "b"}), "CONNECT", []frames.Version{v}},
			{"M2 SUBSCRIBE", encoded(t, v, frames.Subscribe{ID: 1, Filters: []frames.Filter{{Topic: "#"}}}), "SUBSCRIBE", []frames.Version{v}},
			{"M2 UNSUBSCRIBE", encoded(t, v, frames.Unsubscribe{ID: 1, Topics: []string{"#"}}), "UNSUBSCRIBE", []frames.Version{v}},
			{"M2 PINGREQ", encoded(t, v, frames.Pingreq{}), "PINGREQ", []frames.Version{v}},
			{"M2 DISCONNECT", encoded(t, v, frames.Disconnect{}), "DISCONNECT", []frames.Version{v}},
		})
	}
}

// M3 [MQTT-3.3.1-4], M4 [MQTT-3.3.1-2], M5 [MQTT-2.3.1-1]
func TestPublishWithImpossibleFlagsOrIdentifierCloses(t *testing.T) {
	closesAtOnce(t, []violation{
		{name: "M3 PUBLISH with QoS 3", bytes: body(0x36, field("t"), 0, 9, "p"), want: "PUBLISH: QoS 3"},
		{name: "M3 PUBLISH with QoS 3, retained", bytes: body(0x37, field("t"), 0, 9, "p"), want: "PUBLISH: QoS 3"},
		{name: "M3 PUBLISH with QoS 3 and DUP", bytes: body(0x3E, field("t"), 0, 9, "p"), want: "PUBLISH: QoS 3"},
		{name: "M3 PUBLISH with QoS 3, no identifier", bytes: body(0x36, field("t")), want: "PUBLISH"},
		{name: "M4 PUBLISH at QoS 0 with DUP", bytes: body(0x38, field("t"), "p"), want: "PUBLISH: DUP set at QoS 0"},
		{name: "M4 PUBLISH at QoS 0 with DUP, retained", bytes: body(0x39, field("t"), "p"), want: "PUBLISH: DUP set at QoS 0"},
		{name: "M5 PUBLISH at QoS 1, identifier 0", bytes: body(0x32, field("t"), 0, 0, "p"), want: "PUBLISH: packet identifier 0"},
		{name: "M5 PUBLISH at QoS 2, identifier 0", bytes: body(0x34, field("t"), 0, 0, "p"), want: "PUBLISH: packet identifier 0"},
		{name: "M5 PUBLISH at QoS 1 with DUP, identifier 0", bytes: body(0x3A, field("t"), 0, 0), want: "PUBLISH: packet identifier 0"},
	})
}

// M6
func TestPublishCutShortCloses(t *testing.T) {
	closesAtOnce(t, []violation{
		{name: "M6 topic longer than its packet", bytes: body(0x30, 0, 5, "topi"), want: "PUBLISH: cut short"},
		{name: "M6 topic longer than its packet, QoS 1", bytes: body(0x32, 0xFF, 0xFF, "topic", 0, 1), want: "PUBLISH: cut short"},
		{name: "M6 length of the topic cut short", bytes: body(0x30, 0), want: "PUBLISH: cut short"},
		{name: "M6 nothing", bytes: body(0x30), want: "PUBLISH: cut short"},
		{name: "M6 no identifier at QoS 1", bytes: body(0x32, field("t")), want: "PUBLISH: cut short"},
		{name: "M6 half an identifier at QoS 1", bytes: body(0x32, field("t"), 1), want: "PUBLISH: cut short"},
		{name: "M6 no identifier at QoS 2", bytes: body(0x34, field("t")), want: "PUBLISH: cut short"},
		{name: "M6 half an identifier at QoS 2", bytes: body(0x34, field("t"), 1), want: "PUBLISH: cut short"},
	})
}

// M7 [MQTT-1.5.3-1] [MQTT-1.5.3-2] [MQTT-3.3.2-1] [MQTT-3.3.2-2], M8 [MQTT-4.7.3-1]
func TestPublishToAnImpossibleTopicCloses(t *testing.T) {
	var rows []violation
	for _, row := range []struct{ name, topic, want string }{
		{"M7 #", "#", "wildcard"},
		{"M7 # behind a level", "a/#", "wildcard"},
		{"M7 # in a level", "a#b", "wildcard"},
		{"M7 +", "+", "wildcard"},
		{"M7 + as a level", "a/+/b", "wildcard"},
		{"M7 + in a level", "a+", "wildcard"},
		{"M7 U+0000", "\x00", "U+0000"},
		{"M7 U+0000 inside", "long enough\x00to be looked at by words", "U+0000"},
		{"M7 bad UTF-8", "a\xFFb", "UTF-8"},
		{"M7 a continuation byte alone", "\x80", "UTF-8"},
		{"M7 UTF-8 cut short", "a\xE2\x82", "UTF-8"},
		{"M7 surrogate D800", "\xED\xA0\x80", "UTF-8"},
		{"M7 surrogate DFFF", "\xED\xBF\xBF", "UTF-8"},
		{"M7 a pair of surrogates", "\xED\xA0\xBD\xED\xB8\x80", "UTF-8"},
		{"M7 overlong U+0000", "\xC0\x80", "UTF-8"},
		{"M7 overlong slash", "a\xC0\xAFb", "UTF-8"},
		{"M7 overlong slash in three bytes", "a\xE0\x80\xAFb", "UTF-8"},
		{"M7 overlong in four bytes", "\xF0\x82\x82\xAC", "UTF-8"},
		{"M7 beyond U+10FFFF", "\xF4\x90\x80\x80", "UTF-8"},
		{"M8 empty topic", "", "empty"},
	} {
		rows = append(rows,
			violation{name: row.name + ", QoS 0", bytes: body(0x30, field(row.topic), "p"), want: row.want},
			violation{name: row.name + ", QoS 1", bytes: body(0x32, field(row.topic), 0, 9, "p"), want: row.want},
			violation{name: row.name + ", QoS 2", bytes: body(0x34, field(row.topic), 0, 9, "p"), want: row.want})
	}
	closesAtOnce(t, rows)
}

// M9 [MQTT-1.5.3-3]
func TestByteOrderMarkInATopicIsKept(t *testing.T) {
	const topic = "\uFEFFa/\uFEFF"
	t.Run("M9 byte order mark", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			with := subscribed(t, s, c, topic, frames.AtLeastOnce).Deliveries()
			without := subscribed(t, s, c, "a/", frames.AtLeastOnce).Deliveries()
			c.Send(publish(topic, "p", frames.AtLeastOnce, 9, false))
			wantDelivery(t, with, topic, "p").Ack()
			c.Expect(ack(puback, 9))
			wantNoDelivery(t, without)

			published := goPublish(s, message(topic, "p", frames.AtLeastOnce))
			p := streamtest.Next[frames.Publish](c)
			if p.Topic != topic {
				t.Errorf("published to %q", p.Topic)
			}
			c.Complete(p)
			wantError(t, outcome(t, published), nil)
		})
	})
	t.Run("M9 other characters that look odd", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			s, c := connected(t, b, nil)
			in := s.Deliveries()
			for _, topic := range []string{"\uFFFF", "\uFFFD", "\u0001", "\u007F", "\u0085", "\U0010FFFF", " ", "/", "//", "$x"} {
				c.Send(publish(topic, "", 0, 0, false))
				wantDelivery(t, in, topic, "")
			}
		})
	})
}

// M10 [MQTT-2.2.2-2] [MQTT-2.3.1-6]
func TestAcksOfWrongFormClose(t *testing.T) {
	var rows []violation
	for kind, first := range map[string]int{"PUBACK": 0x40, "PUBREC": 0x50, "PUBCOMP": 0x70} {
		rows = append(rows, wrongAcks("M10 ", kind, first, []int{1, 2, 4, 8, 15})...)
	}
	closesAtOnce(t, rows)
}

// M11 [MQTT-3.6.1-1]
func TestPubrelOfWrongFormCloses(t *testing.T) {
	closesAtOnce(t, wrongAcks("M11 ", "PUBREL", 0x62, []int{0x60 ^ 0x62, 0x66 ^ 0x62, 0x63 ^ 0x62, 0x64 ^ 0x62, 0x6F ^ 0x62}))
	closesAtOnce(t, []violation{{"M11 PUBREL with DUP closes on 3.1.1", body(0x6A, 0, 5), "PUBREL: reserved flags 1010", only311}})
	t.Run("M11 PUBREL with DUP is legal on 3.1", func(t *testing.T) {
		inVersions(t, only31, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			in := s.Deliveries()
			c.Send(publish("t", "once", frames.ExactlyOnce, 5, false))
			wantDelivery(t, in, "t", "once").Ack()
			c.Expect(ack(pubrec, 5))
			c.SendBytes(body(0x6A, 0, 5))
			c.Expect(ack(pubcomp, 5))
			c.SendBytes(body(0x6A, 0, 5))
			c.Expect(ack(pubcomp, 5))
		})
	})
}

// wrongAcks returns malformed variants of a packet whose body is only an identifier. Each element
// of flags is a wrong bit of the first byte.
func wrongAcks(row, kind string, first int, flags []int) []violation {
	rows := []violation{
		{name: row + kind + " of length 0", bytes: body(byte(first)), want: kind + ": cut short"},
		{name: row + kind + " of length 1", bytes: body(byte(first), 1), want: kind + ": cut short"},
		{name: row + kind + " of length 3", bytes: body(byte(first), 0, 1, 0), want: kind + ": 1 bytes after its end"},
		{name: row + kind + " of length 4, as in MQTT 5", bytes: body(byte(first), 0, 1, 0, 0), want: kind + ": 2 bytes after its end"},
		{name: row + kind + " for identifier 0", bytes: body(byte(first), 0, 0), want: kind + ": packet identifier 0"},
	}
	for _, f := range flags {
		rows = append(rows, violation{
			name:  fmt.Sprintf("%s%s with first byte %#02x", row, kind, first^f),
			bytes: body(byte(first^f), 0, 1),
			want:  kind + ": reserved flags",
		})
	}
	return rows
}

// M12 [MQTT-2.3.1-7] [MQTT-3.8.4-5] [MQTT-3.9.3-2]
func TestSubackThatDoesNotFitCloses(t *testing.T) {
	for _, row := range []struct {
		name   string
		suback func(id []byte) []byte
		want   string
	}{
		{"M12 no codes", func(id []byte) []byte { return body(0x90, id) }, "SUBACK"},
		{"M12 nothing", func(id []byte) []byte { return body(0x90) }, "SUBACK"},
		{"M12 half an identifier", func(id []byte) []byte { return body(0x90, 0) }, "SUBACK"},
		{"M12 too few codes", func(id []byte) []byte { return body(0x90, id, 0) }, "1 return codes for 2 filters"},
		{"M12 too many codes", func(id []byte) []byte { return body(0x90, id, 0, 0, 0) }, "3 return codes for 2 filters"},
		{"M12 far too many codes", func(id []byte) []byte { return body(0x90, id, make([]byte, 100)) }, "100 return codes"},
		{"M12 too many codes, all refused", func(id []byte) []byte { return body(0x90, id, 0x80, 0x80, 0x80) }, "3 return codes"},
		{"M12 reserved code 3", func(id []byte) []byte { return body(0x90, id, 0, 3) }, "reserved code 0x03"},
		{"M12 reserved code 0x7F", func(id []byte) []byte { return body(0x90, id, 0x7F, 0) }, "reserved code 0x7f"},
		{"M12 reserved code 0x81", func(id []byte) []byte { return body(0x90, id, 0, 0x81) }, "reserved code 0x81"},
		{"M12 reserved code 0xFF", func(id []byte) []byte { return body(0x90, id, 0xFF, 0xFF) }, "reserved code 0xff"},
		{"M12 reserved code, as in MQTT 5", func(id []byte) []byte { return body(0x90, id, 0x87, 0) }, "reserved code 0x87"},
		{"M12 another identifier", func(id []byte) []byte { return body(0x90, []byte{id[0], id[1] - 1}, 0, 0) }, "no SUBSCRIBE has"},
		{"M12 another identifier, in its high byte", func(id []byte) []byte { return body(0x90, []byte{id[0] - 1, id[1]}, 0, 0) }, "no SUBSCRIBE has"},
		{"M12 identifier 0", func([]byte) []byte { return body(0x90, 0, 0, 0, 0) }, "packet identifier 0"},
		{"M12 flags", func(id []byte) []byte { return body(0x92, id, 0, 0) }, "reserved flags 0010"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inVersions(t, eachOf, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				s, c := connected(t, b, faultOptions(v))
				asked := goSubscribe(s, frames.Filter{Topic: "a"}, frames.Filter{Topic: "b", QoS: 2})
				p := streamtest.Next[frames.Subscribe](c)
				start := time.Now()
				c.SendBytes(row.suback(binary.BigEndian.AppendUint16(nil, p.ID)))
				c.ExpectClosed()
				wantElapsed(t, start, 0)
				wantViolation(t, lost(t, s), row.want)

				// The call of Subscribe still waits, so the session sends SUBSCRIBE again on the
				// next connection.
				wantPending(t, asked)
				c = b.Accept()
				wantElapsed(t, start, faultPause)
				c.Handshake(false)
				again := streamtest.Next[frames.Subscribe](c)
				if !slices.Equal(again.Filters, p.Filters) {
					t.Errorf("subscribed to %v, then to %v", p.Filters, again.Filters)
				}
				c.Grant(again)
				wantError(t, outcome(t, asked), nil)
			})
		})
	}
	t.Run("M12 twice", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			asked := goSubscribe(s, frames.Filter{Topic: "a"})
			p := streamtest.Next[frames.Subscribe](c)
			c.Grant(p)
			wantError(t, outcome(t, asked), nil)
			c.Grant(p)
			endsWith(t, c, frames.ProtocolViolation)
			wantViolation(t, lost(t, s), "no SUBSCRIBE has")
		})
	})
	t.Run("M12 the identifier of a PUBLISH", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			published := goPublish(s, message("t", "", frames.AtLeastOnce))
			p := streamtest.Next[frames.Publish](c)
			c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{0}})
			endsWith(t, c, frames.ProtocolViolation)
			wantViolation(t, lost(t, s), "no SUBSCRIBE has")
			wantError(t, outcome(t, published), stream.ErrUnconfirmed)
		})
	})
	t.Run("M12 the identifier of an UNSUBSCRIBE", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			sub := subscribed(t, s, c, "a", 0)
			go sub.Unsubscribe(context.Background())
			p := streamtest.Next[frames.Unsubscribe](c)
			c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{0}})
			endsWith(t, c, frames.ProtocolViolation)
			wantViolation(t, lost(t, s), "no SUBSCRIBE has")
		})
	})
	t.Run("M12 ends the call with the session when it does not reconnect", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			o := faultOptions(v)
			o.NoReconnect = true
			s, c := connected(t, b, o)
			asked := goSubscribe(s, frames.Filter{Topic: "a"})
			p := streamtest.Next[frames.Subscribe](c)
			c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{0, 0}})
			endsWith(t, c, frames.ProtocolViolation)
			err := outcome(t, asked)
			wantError(t, err, stream.ErrClosed)
			wantViolation(t, err, "2 return codes for 1 filters")
			<-s.Done()
			wantViolation(t, s.Err(), "2 return codes for 1 filters")
		})
	})
}

// M12 [MQTT-3.8.3-2] [MQTT-3.9.3-1]
func TestRefusedFilterIsAnErrorThatNamesIt(t *testing.T) {
	t.Run("M12 0x80", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			asked := goSubscribe(s,
				frames.Filter{Topic: "good/0"}, frames.Filter{Topic: "bad/1", QoS: 1},
				frames.Filter{Topic: "good/2", QoS: 2}, frames.Filter{Topic: "bad/3", QoS: 2})
			p := streamtest.Next[frames.Subscribe](c)
			c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{0, frames.UnspecifiedError, 1, frames.UnspecifiedError}})
			err := outcome(t, asked)
			var refused *stream.RefusedError
			want := []frames.Filter{{Topic: "bad/1", QoS: 1}, {Topic: "bad/3", QoS: 2}}
			if !errors.As(err, &refused) || !slices.Equal(refused.Filters, want) {
				t.Fatalf("error %v, want the refusal of %v", err, want)
			}
			wantText(t, err, `"bad/1"`)
			wantText(t, err, `"bad/3"`)
			wantHidden(t, err.Error(), "good")

			// The client unsubscribes from the filters that the broker granted, and the connection
			// stays up.
			u := streamtest.Next[frames.Unsubscribe](c)
			if !slices.Equal(u.Topics, []string{"good/0", "good/2"}) {
				t.Errorf("unsubscribed from %q", u.Topics)
			}
			c.Unsuback(u)
			if sub := subscribed(t, s, c, "good/0", 2); !slices.Equal(sub.Granted(), []frames.QoS{2}) {
				t.Errorf("granted %v", sub.Granted())
			}
			if st := <-s.States(t.Context()); !st.Online {
				t.Errorf("state %+v", st)
			}
		})
	})
	t.Run("M12 a lower QoS than asked for is a grant", func(t *testing.T) { // [MQTT-3.8.4-6]
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			var sub *stream.Subscription
			done := make(chan error, 1)
			go func() {
				var err error
				sub, err = s.Subscribe(context.Background(), frames.Filter{Topic: "a", QoS: 2}, frames.Filter{Topic: "b", QoS: 2}, frames.Filter{Topic: "c", QoS: 1})
				done <- err
			}()
			p := streamtest.Next[frames.Subscribe](c)
			c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{1, 0, 1}})
			wantError(t, outcome(t, done), nil)
			if got := sub.Granted(); !slices.Equal(got, []frames.QoS{1, 0, 1}) {
				t.Errorf("granted %v", got)
			}
		})
	})
}

// M13 [MQTT-3.10.4-4]
func TestUnsubackThatDoesNotFitCloses(t *testing.T) {
	closesAtOnce(t, wrongAcks("M13 ", "UNSUBACK", 0xB0, []int{1, 2, 8, 15}))
	closesAtOnce(t, []violation{
		{name: "M13 UNSUBACK that nobody asked for", bytes: body(0xB0, 0x30, 0x39), want: "packet identifier 12345, which no UNSUBSCRIBE has"},
	})
	for name, id := range map[string]func(id uint16) uint16{
		"M13 another identifier":                     func(id uint16) uint16 { return id + 1 },
		"M13 the identifier's bytes turned round":    func(id uint16) uint16 { return id<<8 | id>>8 },
		"M13 the largest identifier for a small one": func(uint16) uint16 { return 65535 },
	} {
		t.Run(name, func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				start := time.Now()
				s, c := connected(t, b, faultOptions(v))
				sub := subscribed(t, s, c, "a", 0)
				left := make(chan error, 1)
				go func() { left <- sub.Unsubscribe(context.Background()) }()
				u := streamtest.Next[frames.Unsubscribe](c)
				c.Unsuback(frames.Unsubscribe{ID: id(u.ID), Topics: u.Topics})
				endsWith(t, c, frames.ProtocolViolation)
				wantViolation(t, lost(t, s), "no UNSUBSCRIBE has")
				wantError(t, outcome(t, left), nil) // the filter ended with the clean session
				returns(t, b, s, nil, start)
			})
		})
	}
	t.Run("M13 for a SUBSCRIBE", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			asked := goSubscribe(s, frames.Filter{Topic: "a"})
			p := streamtest.Next[frames.Subscribe](c)
			c.Unsuback(frames.Unsubscribe{ID: p.ID, Topics: []string{"a"}})
			endsWith(t, c, frames.ProtocolViolation)
			wantViolation(t, lost(t, s), "no UNSUBSCRIBE has")
			wantPending(t, asked)
			c = b.Handshake(false)
			c.Grant(streamtest.Next[frames.Subscribe](c))
			wantError(t, outcome(t, asked), nil)
		})
	})
}

// M14
func TestPingrespOfWrongFormCloses(t *testing.T) {
	closesAtOnce(t, []violation{
		{name: "M14 PINGRESP of length 1", bytes: body(0xD0, 0), want: "PINGRESP: 1 bytes after its end"},
		{name: "M14 PINGRESP of length 2", bytes: body(0xD0, 0, 1), want: "PINGRESP: 2 bytes after its end"},
		{name: "M14 PINGRESP with flags", bytes: body(0xD1), want: "PINGRESP: reserved flags 0001"},
		{name: "M14 PINGRESP with all flags", bytes: body(0xDF), want: "PINGRESP: reserved flags 1111"},
	})
	t.Run("M14 unsolicited PINGRESP is ignored", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			in := s.Deliveries()
			c.Send(frames.Pingresp{})
			synctest.Wait()
			c.Send(frames.Pingresp{}, frames.Pingresp{}, publish("t", "p", frames.AtLeastOnce, 3, false), frames.Pingresp{})
			wantDelivery(t, in, "t", "p").Ack()
			c.Expect(ack(puback, 3))
			synctest.Wait()
			c.ExpectNone()

			// The unsolicited PINGRESPs do not answer a later PINGREQ.
			streamtest.Next[frames.Pingreq](c)
			start := time.Now()
			c.ExpectClosed()
			wantElapsed(t, start, 20*time.Second)
		})
	})
}

// M15
func TestRemainingLengthOfWrongFormCloses(t *testing.T) {
	closesAtOnce(t, []violation{
		{name: "M15 in 5 bytes", bytes: []byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}, want: "PUBLISH: remaining length in more than 4 bytes"},
		{name: "M15 four bytes that go on", bytes: []byte{0x40, 0xFF, 0xFF, 0xFF, 0xFF}, want: "PUBACK: remaining length in more than 4 bytes"},
		{name: "M15 over-long, 2 in two bytes", bytes: []byte{0x40, 0x82, 0x00, 0, 9}, want: "PUBACK: remaining length in more bytes than it needs"},
		{name: "M15 over-long, 2 in four bytes", bytes: []byte{0x40, 0x82, 0x80, 0x80, 0x00, 0, 9}, want: "PUBACK: remaining length in more bytes than it needs"},
		{name: "M15 over-long, 0 in two bytes", bytes: []byte{0xD0, 0x80, 0x00}, want: "PINGRESP: remaining length in more bytes than it needs"},
		{name: "M15 over-long, a PUBLISH", bytes: append([]byte{0x30, 0x84, 0x00}, "\x00\x01tp"...), want: "PUBLISH: remaining length in more bytes than it needs"},
	})
}

// header returns the fixed header of a QoS 0 PUBLISH with remaining length n.
func header(n int) []byte {
	b := []byte{0x30}
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// allocated returns the number of bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// M16
func TestAnnouncedSizeIsNotBelieved(t *testing.T) {
	const limit = 1 << 20
	t.Run("M16 256 MiB announced, MaxPacket refuses them", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			start := time.Now()
			var err error
			n := allocated(func() {
				c.SendBytes(append([]byte{0x90}, header(frames.MaxRemaining)[1:]...)) // SUBACK
				endsWith(t, c, frames.PacketTooLarge)
				err = lost(t, s)
			})
			var large *frames.TooLargeError
			if !errors.As(err, &large) || large.Size != frames.MaxPacket || large.Limit != 1<<20 {
				t.Fatalf("error %v, want a TooLargeError of %d over %d", err, frames.MaxPacket, 1<<20)
			}
			wantText(t, err, "268435460")
			wantText(t, err, "1048576")
			if n > limit {
				t.Errorf("%d bytes allocated, more than the limit", n)
			}
			returns(t, b, s, nil, start)
		})
	})
	t.Run("M16 256 MiB announced, MaxPacket allows them, nothing sent", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			o := faultOptions(v)
			o.MaxPacket = frames.MaxPacket
			s, c := connected(t, b, o)
			n := allocated(func() {
				c.SendBytes(header(frames.MaxRemaining))
				synctest.Wait()
			})
			if c.Unread() > 0 || n > limit {
				t.Errorf("%d bytes allocated for a header, %d bytes unread", n, c.Unread())
			}
			if st := <-s.States(t.Context()); !st.Online {
				t.Errorf("state %+v", st)
			}
			n = allocated(func() {
				c.SendBytes(append([]byte("\x00\x01t"), make([]byte, 100_000)...))
				synctest.Wait()
			})
			if c.Unread() > 0 || n > limit {
				t.Errorf("%d bytes allocated for 100,000 of the packet, %d bytes unread", n, c.Unread())
			}
			if got := s.Stats().Received; got != 0 {
				t.Errorf("%d messages received", got)
			}
		})
	})
	t.Run("M16 MaxPacket is the size of the whole packet", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			const most = 1000
			o := faultOptions(frames.V311)
			o.MaxPacket = most
			s, c := connected(t, b, o)
			in := s.Deliveries()
			fits := publish("t", string(make([]byte, most-3-3)), 0, 0, false)
			if n := len(encoded(t, frames.V311, fits)); n != most {
				t.Fatalf("the packet has %d bytes", n)
			}
			c.Send(fits)
			wantDelivery(t, in, "t", string(fits.Payload))
			fits.Payload = append(fits.Payload, 0)
			c.Send(fits)
			wantNoDelivery(t, in)
			wantStat(t, s, "TooLarge", func(st stream.Stats) uint64 { return st.TooLarge }, 1)
		})
	})
	t.Run("M16 MaxPacket holds for the first packet too", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			dialed := goDial(t.Context(), t, b, "mqtt://broker", nil)
			c := b.Accept()
			c.ExpectConnect()
			c.SendBytes([]byte{0x20, 0xFF, 0xFF, 0xFF, 0x7F})
			endsWith(t, c, frames.PacketTooLarge)
			var large *frames.TooLargeError
			if err := outcome(t, dialed); !errors.As(err, &large) {
				t.Errorf("error %v, want a TooLargeError", err)
			}
		})
	})
}

// M17
func TestPacketsByteByByte(t *testing.T) {
	t.Run("M17 PUBLISH byte by byte", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			in := s.Deliveries()
			payload := string(bytes.Repeat([]byte("drip"), 100)) // the remaining length takes two bytes
			for q := range frames.QoS(3) {
				c.SendSplit(1, publish("drop/by/drop", payload, q, uint16(q)*7, false))
				wantDelivery(t, in, "drop/by/drop", payload).Ack()
			}
			c.Expect(ack(puback, 7), ack(pubrec, 14))
			c.SendSplit(1, ack(pubrel, 14))
			c.Expect(ack(pubcomp, 14))
		})
	})
	t.Run("M17 the acks of a publication byte by byte", func(t *testing.T) {
		inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
			s, c := connected(t, b, faultOptions(v))
			published := goPublish(s, message("t", "p", frames.ExactlyOnce))
			p := streamtest.Next[frames.Publish](c)
			c.SendSplit(1, ack(pubrec, p.ID))
			c.Expect(ack(pubrel, p.ID))
			c.SendSplit(1, ack(pubcomp, p.ID))
			wantError(t, outcome(t, published), nil)
			asked := goSubscribe(s, frames.Filter{Topic: "f", QoS: 1})
			q := streamtest.Next[frames.Subscribe](c)
			c.SendSplit(1, frames.Suback{ID: q.ID, Codes: []frames.ReasonCode{1}})
			wantError(t, outcome(t, asked), nil)
		})
	})
}

// A packet may have any first byte and may be cut short. The session does not panic, and Close
// returns.
func TestNoFirstByteIsTooMuch(t *testing.T) {
	for _, v := range eachOf {
		for first := range 256 {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				for _, content := range []string{"", "\x00", "\x00\x01", "\x00\x01\x00", "\x00\x01tp"} {
					s, c := connected(t, b, faultOptions(v))
					c.SendBytes(body(byte(first), content))
					synctest.Wait()
					s.Close()
				}
			})
		}
	}
}

// Packets that arrive before a violation take effect, even if one read returns all of them.
func TestPacketsBeforeAViolationCount(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		start := time.Now()
		s, c := connected(t, b, faultOptions(v))
		in := subscribed(t, s, c, "#", 2).Deliveries()
		published := goPublish(s, message("t", "p", frames.AtLeastOnce))
		p := streamtest.Next[frames.Publish](c)
		c.SendBytes(slices.Concat(
			encoded(t, v, publish("a", "before", 0, 0, false), ack(puback, p.ID)),
			body(0x36, field("b"), 0, 1, 0, "bad"),
			encoded(t, v, publish("c", "behind", 0, 0, false)),
		))
		endsWith(t, c, frames.MalformedPacket)
		wantError(t, outcome(t, published), nil)
		wantDelivery(t, in, "a", "before")
		wantViolation(t, lost(t, s), "QoS 3")
		returns(t, b, s, in, start)
		wantNoDelivery(t, in)
	})
}

// A violation ends the connection, but not a kept session. Publications in flight continue on the
// next connection and get one Receipt each.
func TestViolationLeavesAKeptSessionInForce(t *testing.T) {
	inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
		o := faultOptions(v)
		o.KeepSession = true
		s, c := connected(t, b, o)
		receipts := make(chan stream.Receipt, 4)
		s.Publishes() <- stream.Publishing{Message: message("t", "p", frames.AtLeastOnce), Ack: receipts}
		p := streamtest.Next[frames.Publish](c)
		c.SendBytes(body(0x00))
		endsWith(t, c, frames.MalformedPacket)
		wantReceipts(t, receipts, 0)
		c = b.Handshake(true)
		p.DUP = true
		c.Expect(p)
		c.Complete(p)
		if r := wantReceipts(t, receipts, 1)[0]; r.Err != nil || r.ID != p.ID {
			t.Errorf("Receipt %+v", r)
		}
	})
}
