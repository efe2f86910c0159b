package frames

import (
	"bytes"
	"strings"
	"testing"
)

func TestMessageCloneHasAPayloadOfItsOwn(t *testing.T) {
	m := Message{Topic: "a", Payload: []byte("first"), QoS: 1, Retain: true}
	c := m.Clone()
	copy(m.Payload, "XXXXX")
	if c.Topic != "a" || string(c.Payload) != "first" || c.QoS != 1 || !c.Retain {
		t.Errorf("%+v", c)
	}
	if (Message{}).Clone().Payload != nil {
		t.Error("a nil payload did not stay nil")
	}
}

func TestMessageValidateNamesFieldAndLimit(t *testing.T) {
	for _, m := range []Message{
		{Topic: "a"},
		{Topic: "a", Payload: []byte{0, 0xFF}, QoS: ExactlyOnce, Retain: true},
		{Topic: strings.Repeat("x", MaxString), QoS: AtLeastOnce},
	} {
		if err := m.Validate(V311); err != nil {
			t.Errorf("%.20q: %v", m.Topic, err)
		}
	}
	for _, c := range []struct {
		m    Message
		v    Version
		want InvalidError
	}{
		{Message{}, V311, InvalidError{Field: "topic"}},
		{Message{Topic: "a/#"}, V311, InvalidError{Field: "topic"}},
		{Message{Topic: "a\x00"}, V311, InvalidError{Field: "topic"}},
		{Message{Topic: "\xed\xa0\x80"}, V311, InvalidError{Field: "topic"}},
		{Message{Topic: "a", QoS: 3}, V311, InvalidError{Field: "QoS", Value: 3, Limit: 2}},
		{Message{Topic: "a", QoS: 0x80}, V311, InvalidError{Field: "QoS", Value: 128, Limit: 2}},
		{Message{Topic: strings.Repeat("x", 65536)}, V311, InvalidError{Field: "topic", Value: 65536, Limit: 65535}},
		{Message{Topic: strings.Repeat("x", 32768)}, V31, InvalidError{Field: "topic", Value: 32768, Limit: 32767}},
	} {
		wantInvalid(t, c.m.Validate(c.v), c.want)
	}
}

// E3: a packet of the largest size, and a packet of one byte more. The payload is never read.
func TestMessageOfTheLargestPacketIsValidAndOneByteMoreIsNot(t *testing.T) {
	payload := make([]byte, MaxRemaining)
	for _, c := range []struct {
		qos  QoS
		head int // bytes of the remaining length before the payload
	}{{AtMostOnce, 3}, {AtLeastOnce, 5}, {ExactlyOnce, 5}} {
		m := Message{Topic: "a", QoS: c.qos, Payload: payload[:MaxRemaining-c.head]}
		if err := m.Validate(V311); err != nil {
			t.Error(err)
		}
		b, err := Publish{Message: m, ID: 1}.AppendHeader(nil, V311)
		if want := []byte{0xFF, 0xFF, 0xFF, 0x7F}; err != nil || !bytes.Equal(b[1:5], want) {
			t.Errorf("% x, %v", b, err)
		}

		m.Payload = payload[:MaxRemaining-c.head+1]
		want := InvalidError{Field: "packet", Value: MaxRemaining + 1, Limit: MaxRemaining}
		wantInvalid(t, m.Validate(V311), want)
		wantUnappended(t, Publish{Message: m, ID: 1}, V311, want)
	}
}
