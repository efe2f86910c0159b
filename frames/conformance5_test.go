package frames

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// [MQTT-3.2.2-1] The seven reserved flags of CONNACK are 0.
func TestReservedFlagsOfConnackAreRefusedAt5(t *testing.T) {
	for flags := range 256 {
		p, err := ParseConnack(Frame{0x20, []byte{byte(flags), 0, 0}}, V5)
		if good := flags <= 1; (err == nil) != good || good && p.SessionPresent != (flags == 1) {
			t.Errorf("flags %08b: %+v, %v", flags, p, err)
		}
	}
}

// [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2] The reason string and the user
// properties of SUBACK and UNSUBACK are kept, with the codes in their order.
func TestReasonsOfSubackAndUnsubackAreKept(t *testing.T) {
	user := []UserProperty{{"k", "1"}, {"k", "2"}}
	block := encode(t, Ack{Kind: TypePuback, ID: 1, AckReason: AckReason{Properties: &AckProperties{"why", user}}}, V5)[5:]
	for first, codes := range map[byte][]byte{0x90: {2, 0x87, 0}, 0xB0: {0x11, 0x87, 0}} {
		body := append(append([]byte{0, 9}, block...), codes...)
		p, err := Parse(Frame{first, body}, V5)
		if err != nil {
			t.Fatal(err)
		}
		var got []ReasonCode
		var properties *AckProperties
		switch p := p.(type) {
		case Suback:
			got, properties = p.Codes, p.Properties
		case Unsuback:
			got, properties = p.Codes, p.Properties
		}
		if properties == nil || properties.Reason != "why" || len(properties.User) != 2 || properties.User[1].Value != "2" {
			t.Errorf("%#x: %+v", first, properties)
		}
		for i, code := range codes {
			if got[i] != ReasonCode(code) {
				t.Errorf("%#x: the codes are %v", first, got)
			}
		}
	}
}

// [MQTT-3.3.2-2] [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3]
func TestTopicNamesOfMQTT5(t *testing.T) {
	long := strings.Repeat("x", MaxString)
	for _, topic := range []string{"a", "/", "a//b", " ", "$SYS/x", "$share/g/a", "\ufeff", long} {
		if err := ValidTopicName(topic, V5); err != nil {
			t.Errorf("%.20q: %v", topic, err)
		}
	}
	for _, topic := range []string{"", "#", "+", "a/#", "a/+/b", "a#b", "a\x00", "\xff", "\xed\xa0\x80"} {
		wantInvalid(t, ValidTopicName(topic, V5), InvalidError{Field: "topic"})
	}
	wantInvalid(t, ValidTopicName(long+"x", V5), InvalidError{Field: "topic", Value: 65536, Limit: 65535})
}

// [MQTT-3.8.3-1] [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] to [MQTT-4.7.3-3] [MQTT-4.8.2-1]
// [MQTT-4.8.2-2]
func TestFiltersOfMQTT5(t *testing.T) {
	long := strings.Repeat("x", MaxString)
	for _, filter := range []string{"#", "+", "/", "+/+/#", "a", "a//b", "$SYS/#", "$share/g/a", "$share/g/+/#", "$share/g//", "$share", long} {
		if err := ValidTopicFilter(filter, V5); err != nil {
			t.Errorf("%.20q: %v", filter, err)
		}
	}
	for _, filter := range []string{
		"", "a#", "#/a", "a/#/b", "a+", "+a", "++", "+#", "a\x00", "\xff", "\xed\xa0\x80",
		"$share/", "$share//a", "$share/g", "$share/g/", "$share/+/a", "$share/#/a", "$share/g+/a", "$share/g/a#",
	} {
		wantInvalid(t, ValidTopicFilter(filter, V5), InvalidError{Field: "filter"})
	}
	wantInvalid(t, ValidTopicFilter(long+"x", V5), InvalidError{Field: "filter", Value: 65536, Limit: 65535})
}

// [MQTT-2.2.1-3] [MQTT-3.3.1-2] [MQTT-3.3.1-4]
func TestImpossiblePublishesOfMQTT5AreNotEncoded(t *testing.T) {
	for _, c := range []struct {
		p    Publish
		want InvalidError
	}{
		{Publish{Message: Message{Topic: "a", QoS: 3}, ID: 1}, InvalidError{Field: "QoS", Value: 3, Limit: 2}},
		{Publish{Message: Message{Topic: "a"}, DUP: true}, InvalidError{Field: "DUP"}},
		{Publish{Message: Message{Topic: "a", QoS: 1}}, InvalidError{Field: "packet identifier"}},
		{Publish{Message: Message{Topic: "a", QoS: 2}}, InvalidError{Field: "packet identifier"}},
	} {
		wantUnappended(t, c.p, V5, c.want)
	}
}

// A code below 0x80 that a packet does not have is a violation, except in PUBACK and PUBREC: mochi
// sends the QoS there. Each code from 0x80 on is a refusal, except in PUBREL and AUTH, which have
// no refusals. Each CONNACK but one with 0 refuses, and each DISCONNECT ends the connection.
func TestTheCodesThatEachPacketMayHave(t *testing.T) {
	all, refusals := []byte{0, 0x7F}, []byte{0x80, 0xFF}
	for _, c := range []struct {
		kind    Type
		before  []byte
		allowed [][]byte // ranges
	}{
		{TypeConnack, []byte{0}, [][]byte{all, refusals}},
		{TypePuback, []byte{0, 1}, [][]byte{all, refusals}},
		{TypePubrec, []byte{0, 1}, [][]byte{all, refusals}},
		{TypePubrel, []byte{0, 1}, [][]byte{{0, 0}, {0x92, 0x92}}},
		{TypePubcomp, []byte{0, 1}, [][]byte{{0, 0}, refusals}},
		{TypeSuback, []byte{0, 1, 0}, [][]byte{{0, 2}, refusals}},
		{TypeUnsuback, []byte{0, 1, 0}, [][]byte{{0, 0}, {0x11, 0x11}, refusals}},
		{TypeDisconnect, nil, [][]byte{all, refusals}},
		{TypeAuth, nil, [][]byte{{0, 0}, {0x18, 0x19}}},
	} {
		for code := range 0x100 {
			body := append(bytes.Clone(c.before), byte(code))
			if c.kind == TypeConnack || c.kind == TypeAuth {
				body = append(body, 0) // no properties
			}
			_, err := Parse(Frame{Header: c.kind.first(), Body: body}, V5)
			want := slices.ContainsFunc(c.allowed, func(r []byte) bool { return int(r[0]) <= code && code <= int(r[1]) })
			if got := err == nil; got != want || err != nil && CodeOf(err) != ProtocolViolation {
				t.Errorf("%v with %#02x: %v", c.kind, code, err)
			}
		}
	}
}
