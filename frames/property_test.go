package frames

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// value returns a valid value of a property.
func (r *propertyRule) value() []byte {
	switch r.kind {
	case kindFlag, kindVarint:
		return []byte{1}
	case kindUint16:
		return []byte{0, 1}
	case kindUint32:
		return []byte{0, 0, 0, 1}
	case kindPair:
		return []byte("\x00\x01a\x00\x01b")
	}
	return []byte("\x00\x01a")
}

// withProperties returns a packet of type t with a property block.
func withProperties(t Type, block []byte) Frame {
	b := append(binary.AppendUvarint(nil, uint64(len(block))), block...)
	id := []byte{0, 1}
	body := map[Type][]byte{
		TypeConnect:     bytes.Join([][]byte{[]byte("\x00\x04MQTT\x05\x02\x00\x00"), b, []byte("\x00\x01c")}, nil),
		willProperties:  bytes.Join([][]byte{[]byte("\x00\x04MQTT\x05\x06\x00\x00\x00\x00\x01c"), b, []byte("\x00\x01w\x00\x00")}, nil),
		TypeConnack:     append([]byte{0, 0}, b...),
		TypePublish:     append([]byte("\x00\x01a"), b...),
		TypeSubscribe:   bytes.Join([][]byte{id, b, []byte("\x00\x01a\x00")}, nil),
		TypeSuback:      bytes.Join([][]byte{id, b, {0}}, nil),
		TypeUnsubscribe: bytes.Join([][]byte{id, b, []byte("\x00\x01a")}, nil),
		TypeUnsuback:    bytes.Join([][]byte{id, b, {0}}, nil),
		TypeDisconnect:  append([]byte{0}, b...),
		TypeAuth:        append([]byte{0}, b...),
	}[t]
	if isAck(t) {
		body = bytes.Join([][]byte{id, {0}, b}, nil)
	}
	if t == willProperties {
		t = TypeConnect
	}
	return Frame{t.first(), body}
}

func parseV5(f Frame) (Packet, error) {
	if f.Type() == TypePublish {
		return packet(ParsePublish(f, V5, nil, NewAliases(10)))
	}
	return Parse(f, V5)
}

// V50: each property in each packet, once, twice, and cut short.
func TestPropertiesOfEveryPacket(t *testing.T) {
	for id := range propertyRules {
		rule := &propertyRules[id]
		for _, of := range []Type{willProperties, TypeConnect, TypeConnack, TypePublish, TypePuback, TypePubrec, TypePubrel,
			TypePubcomp, TypeSubscribe, TypeSuback, TypeUnsubscribe, TypeUnsuback, TypeDisconnect, TypeAuth} {
			one := append([]byte{byte(id)}, rule.value()...)
			if id == int(propAuthData) {
				one = append([]byte("\x15\x00\x01m"), one...) // the data needs a method
			}
			for name, c := range map[string]struct {
				block []byte
				want  ReasonCode
			}{
				"once":           {one, Success},
				"twice":          {bytes.Repeat(one, 2), ProtocolViolation},
				"cut short":      {one[:len(one)-1], MalformedPacket},
				"an identifier":  {one[:1], MalformedPacket},
				"in a wide form": {append([]byte{byte(id) | 0x80, 0}, rule.value()...), MalformedPacket},
			} {
				want := c.want
				switch {
				case rule.kind == kindNone:
					want = MalformedPacket
				case rule.packets&(1<<of) == 0 && name != "in a wide form":
					want = ProtocolViolation
				case name == "twice" && rule.many&(1<<of) != 0:
					want = Success
				}
				_, err := parseV5(withProperties(of, c.block))
				var violation *ProtocolError
				switch {
				case want == Success && err != nil:
					t.Errorf("%s %s in %v: %v", rule.name, name, of, err)
				case want != Success && (!errors.As(err, &violation) || CodeOf(err) != want):
					t.Errorf("%s (%#x) %s in %v: %v with code %v, want %v", rule.name, id, name, of, err, CodeOf(err), want)
				}
			}
		}
	}
}

// anyText is text of a property, or "".
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.Just(""), rapid.StringN(1, 20, 60).Filter(func(s string) bool { return !strings.Contains(s, "\x00") }))
}

func anyUser(t *rapid.T) (list []UserProperty) {
	for range rapid.IntRange(0, 3).Draw(t, "user properties") {
		list = append(list, UserProperty{anyText().Draw(t, "name"), anyText().Draw(t, "value")})
	}
	return list
}

func anyData(t *rapid.T) []byte {
	if rapid.Bool().Draw(t, "no data") {
		return nil
	}
	return append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "data")...)
}

func anyProperties(t *rapid.T) *Properties {
	p := &Properties{
		Text: rapid.Bool().Draw(t, "text"), ContentType: anyText().Draw(t, "type"), Correlation: anyData(t), User: anyUser(t),
		ResponseTopic: rapid.SampledFrom([]string{"", "r", "a/b"}).Draw(t, "response"),
	}
	if rapid.Bool().Draw(t, "expires") {
		p.Expiry, p.expires = time.Duration(rapid.Uint32().Draw(t, "expiry"))*time.Second, true
	}
	for range rapid.IntRange(0, 2).Draw(t, "subscriptions") {
		p.Subscriptions = append(p.Subscriptions, rapid.Uint32Range(1, maxVarint).Draw(t, "identifier"))
	}
	if writesNothing(p) {
		return nil
	}
	return p
}

func anyAck(t *rapid.T) *AckProperties {
	p := &AckProperties{anyText().Draw(t, "reason"), anyUser(t)}
	if writesNothing(p) {
		return nil
	}
	return p
}

func pointer[T any](t *rapid.T, g *rapid.Generator[T]) *T {
	if rapid.Bool().Draw(t, "absent") {
		return nil
	}
	v := g.Draw(t, "value")
	return &v
}

func anyCodes(t *rapid.T, codes ...ReasonCode) (list []ReasonCode) {
	return rapid.SliceOfN(rapid.SampledFrom(codes), 1, 4).Draw(t, "codes")
}

func anyConnect(t *rapid.T) Packet {
	c := Connect{Version: V5, ClientID: anyText().Draw(t, "client"), KeepAlive: rapid.Uint16().Draw(t, "keep alive"), CleanSession: rapid.Bool().Draw(t, "clean")}
	p := &ConnectProperties{
		SessionExpiry: rapid.Uint32().Draw(t, "expiry"), ReceiveMaximum: rapid.Uint16().Draw(t, "receive"),
		MaximumPacket: rapid.Uint32().Draw(t, "packet"), TopicAliasMaximum: rapid.Uint16().Draw(t, "aliases"),
		RequestResponseInformation: rapid.Bool().Draw(t, "response"), NoProblemInformation: rapid.Bool().Draw(t, "problem"), User: anyUser(t),
	}
	if p.AuthMethod = anyText().Draw(t, "method"); p.AuthMethod != "" {
		p.AuthData = anyData(t)
	}
	if rapid.Bool().Draw(t, "will") {
		c.Will = &Message{Topic: "w", Payload: append([]byte{}, anyData(t)...), Properties: anyProperties(t)}
		if c.Will.Properties != nil {
			c.Will.Properties.Subscriptions = nil
			if writesNothing(c.Will.Properties) {
				c.Will.Properties = nil
			}
		}
		p.WillDelay = rapid.Uint32().Draw(t, "delay")
	}
	if !reflect.DeepEqual(*p, ConnectProperties{}) {
		c.Properties = p
	}
	return c
}

func anyConnack(t *rapid.T) Packet {
	p := &ConnackProperties{
		SessionExpiry: pointer(t, rapid.Uint32()), ReceiveMaximum: rapid.Uint16().Draw(t, "receive"),
		MaximumQoS: pointer(t, rapid.SampledFrom([]QoS{0, 1})), NoRetain: rapid.Bool().Draw(t, "retain"),
		MaximumPacket: rapid.Uint32().Draw(t, "packet"), AssignedClientID: anyText().Draw(t, "assigned"),
		TopicAliasMaximum: rapid.Uint16().Draw(t, "aliases"), Reason: anyText().Draw(t, "reason"), User: anyUser(t),
		NoWildcards: rapid.Bool().Draw(t, "wildcards"), NoSubscriptionIDs: rapid.Bool().Draw(t, "identifiers"),
		NoSharedSubscriptions: rapid.Bool().Draw(t, "shared"), ServerKeepAlive: pointer(t, rapid.Uint16()),
		ResponseInformation: anyText().Draw(t, "information"), ServerReference: anyText().Draw(t, "reference"),
	}
	if p.AuthMethod = anyText().Draw(t, "method"); p.AuthMethod != "" {
		p.AuthData = anyData(t)
	}
	if writesNothing(p) {
		p = nil
	}
	return Connack{rapid.Bool().Draw(t, "session"), rapid.SampledFrom([]ReasonCode{Success, NotAuthorized, ServerMoved}).Draw(t, "code"), p}
}

func anyPublish(t *rapid.T) Packet {
	p := Publish{Message: Message{Topic: "a/b", QoS: rapid.SampledFrom([]QoS{0, 1, 2}).Draw(t, "QoS"),
		Retain: rapid.Bool().Draw(t, "retain"), Properties: anyProperties(t)}, Alias: rapid.Uint16Range(0, 10).Draw(t, "alias")}
	if b := anyData(t); len(b) > 0 {
		p.Payload = b
	}
	if p.QoS > 0 {
		p.ID, p.DUP = rapid.Uint16Range(1, 65535).Draw(t, "id"), rapid.Bool().Draw(t, "dup")
	}
	return p
}

func anyPacket(t *rapid.T) Packet {
	id := rapid.Uint16Range(1, 65535).Draw(t, "id")
	switch kind := Type(rapid.IntRange(int(TypeConnect), int(TypeAuth)).Draw(t, "type")); kind {
	case TypeConnect:
		return anyConnect(t)
	case TypeConnack:
		return anyConnack(t)
	case TypePublish:
		return anyPublish(t)
	case TypeSubscribe:
		return Subscribe{ID: id, Identifier: rapid.Uint32Range(0, maxVarint).Draw(t, "identifier"), User: anyUser(t),
			Filters: []Filter{{"a/#", rapid.SampledFrom([]QoS{0, 1, 2}).Draw(t, "QoS"), rapid.Bool().Draw(t, "local"), rapid.Bool().Draw(t, "retain"), SendNoRetained}, {Topic: "b"}}}
	case TypeSuback:
		return Suback{id, anyCodes(t, 0, 1, 2, NotAuthorized, QuotaExceeded), anyAck(t)}
	case TypeUnsubscribe:
		return Unsubscribe{ID: id, Topics: []string{"a/#", "b"}, User: anyUser(t)}
	case TypeUnsuback:
		return Unsuback{id, anyCodes(t, Success, NoSubscriptionExisted, NotAuthorized), anyAck(t)}
	case TypePingreq:
		return Pingreq{}
	case TypePingresp:
		return Pingresp{}
	case TypeDisconnect:
		return Disconnect{rapid.SampledFrom([]ReasonCode{Success, DisconnectWithWill, ServerMoved}).Draw(t, "code"),
			pointer(t, rapid.Uint32()), anyText().Draw(t, "reason"), anyText().Draw(t, "reference"), anyUser(t)}
	case TypeAuth:
		a := Auth{Code: rapid.SampledFrom([]ReasonCode{Success, ContinueAuthentication, ReAuthenticate}).Draw(t, "code"),
			Method: "m", Reason: anyText().Draw(t, "reason"), User: anyUser(t)}
		a.Data = anyData(t)
		return a
	default:
		code := rapid.SampledFrom([]ReasonCode{Success, PacketIdentifierNotFound}).Draw(t, "code")
		return Ack{Kind: kind, ID: id, AckReason: AckReason{code, anyAck(t)}}
	}
}

// Every packet of MQTT 5 is the same after it is encoded and parsed. V90: cut short at any byte it
// is an error, or another packet in the cases in which the standard lets the rest be left out.
func TestPacketsOfMQTT5ComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPacket(t)
		b, err := p.Append(nil, V5)
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		r := NewReader(bytes.NewReader(b), 0)
		r.SetVersion(V5)
		f, err := ReadFrame(r)
		if err != nil || r.Buffered() > 0 {
			t.Fatalf("%d bytes left, %v", r.Buffered(), err)
		}
		got, err := parseV5(f)
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Fatalf("%s\nbecame\n%s\n%v", describe(p), describe(got), err)
		}
		for n := range len(f.Body) {
			body := append(make([]byte, 0, n), f.Body[:n]...)
			var violation *ProtocolError
			if _, err := parseV5(Frame{f.Header, body}); err != nil && !errors.As(err, &violation) {
				t.Fatalf("cut after %d bytes: %v", n, err)
			}
		}
	})
}

func TestVarints(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, maxVarint} {
		b := appendLength(nil, n)
		if len(b) != varintSize(n) {
			t.Errorf("%d has %d bytes, varintSize says %d", n, len(b), varintSize(n))
		}
		c := cursor{b: b}
		if got, ok := c.varint(); !ok || int(got) != n || len(c.b) != 0 {
			t.Errorf("%d became %d, %t", n, got, ok)
		}
	}
	for _, b := range []string{"", "\x80", "\xff\xff\xff", "\x80\x00", "\xff\xff\xff\xff\x00", "\x80\x80\x80\x00"} {
		c := cursor{b: []byte(b)}
		if n, ok := c.varint(); ok {
			t.Errorf("% x became %d", b, n)
		}
	}
}
