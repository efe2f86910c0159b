package frames

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestPublishAppendRefusesInvalidFields(t *testing.T) {
	for _, c := range []struct {
		p    Publish
		want InvalidError
	}{
		{Publish{Message: Message{Topic: "a", QoS: 3}, ID: 1}, InvalidError{Field: "QoS", Value: 3, Limit: 2}},
		{Publish{Message: Message{Topic: "a"}, DUP: true}, InvalidError{Field: "DUP"}},
		{Publish{Message: Message{Topic: "a", QoS: 1}}, InvalidError{Field: "packet identifier"}},
		{Publish{Message: Message{Topic: "a", QoS: 2}}, InvalidError{Field: "packet identifier"}},
		{
			Publish{Message: Message{Topic: strings.Repeat("x", 65536)}},
			InvalidError{Field: "topic", Value: 65536, Limit: 65535},
		},
	} {
		wantUnappended(t, c.p, V311, c.want)
		dst, err := c.p.AppendHeader([]byte("before"), V311)
		if string(dst) != "before" {
			t.Errorf("%.80q was left in the destination", dst)
		}
		wantInvalid(t, err, c.want)
	}
}

// [MQTT-2.3.1-5] Append ignores a leftover ID at QoS 0.
func TestPublishAtQoS0HasNoIdentifier(t *testing.T) {
	got := encode(t, Publish{Message: Message{Topic: "a", Payload: []byte("m")}, ID: 7}, V311)
	if want := []byte("\x30\x04\x00\x01am"); !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}

func TestPublishAppendDoesNotLookAtContent(t *testing.T) {
	for _, topic := range []string{"", "#", "\xff", "\x00"} {
		b := encode(t, Publish{Message: Message{Topic: topic}}, V311)
		if p, err := ParsePublish(frameOf(t, b), V311, nil, nil); err == nil {
			t.Errorf("%q was received: %+v", topic, p)
		}
	}
}

// The property block gets a longer length at 128 bytes, of which the alias has 3.
func TestPublishWithAnAliasAndPropertiesOfEverySizeComesBack(t *testing.T) {
	for n := range 140 {
		p := Publish{Message: Message{Topic: "a", Payload: []byte("m")}, Alias: 7}
		if n > 0 {
			p.Properties = &Properties{ContentType: strings.Repeat("x", n)}
		}
		aliases := NewAliases(7)
		for range 2 {
			b := encode(t, p, V5)
			got, err := ParsePublish(frameOf(t, b), V5, nil, aliases)
			if err != nil || got.Topic != "a" || got.Alias != 7 || string(got.Payload) != "m" {
				t.Fatalf("%d bytes: %+v, %v", n, got, err)
			}
			if n > 0 && got.Properties.ContentType != p.Properties.ContentType {
				t.Fatalf("content type of %d bytes became %q", n, got.Properties.ContentType)
			}
			p.Topic = "" // the alias stands for it
		}
	}
	m := Message{Topic: "a", Payload: make([]byte, MaxRemaining-4)}
	if err := m.Validate(V5); err != nil {
		t.Error(err)
	}
	wantUnappended(t, Publish{Message: m, Alias: 7}, V5, InvalidError{Field: "packet", Value: MaxRemaining + 3, Limit: MaxRemaining})
}

// E2: the longest topic, and the packet sizes at which the remaining length gets one byte longer.
func TestPublishOfEverySizeComesBack(t *testing.T) {
	long := strings.Repeat("x", MaxString)
	for _, m := range []Message{
		{Topic: long, Payload: []byte("m")},
		{Topic: "a", Payload: make([]byte, 127-3)},
		{Topic: "a", Payload: make([]byte, 128-3)},
		{Topic: "a", Payload: make([]byte, 16_383-3)},
		{Topic: "a", Payload: make([]byte, 16_384-3)},
		{Topic: "a", Payload: make([]byte, 2_097_151-3)},
		{Topic: "a", Payload: make([]byte, 2_097_152-3)},
	} {
		p := Publish{Message: m}
		b := encode(t, p, V311)
		f := frameOf(t, b)
		if f.Size() != len(b) {
			t.Errorf("Size is %d, want %d", f.Size(), len(b))
		}
		got, err := ParsePublish(f, V311, nil, nil)
		if err != nil || got.Topic != m.Topic || !bytes.Equal(got.Payload, m.Payload) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
		header, err := p.AppendHeader(nil, V311)
		if err != nil || !bytes.Equal(append(header, m.Payload...), b) {
			t.Errorf("%d bytes: header and payload do not form the packet, %v", len(b), err)
		}
	}
}

// On 3.1, a broker may forward a topic of a 3.1.1 client that is too long for 3.1.
func TestParsePublishTakesLongTopicsIn31(t *testing.T) {
	p := Publish{Message: Message{Topic: strings.Repeat("x", 40_000)}}
	if _, err := ParsePublish(frameOf(t, encode(t, p, V31)), V31, nil, nil); err != nil {
		t.Error(err)
	}
}

func TestParsePublishPointsIntoTheBodyAndNoFurther(t *testing.T) {
	f := frameOf(t, encode(t, Publish{Message: Message{Topic: "topic", Payload: []byte("payload")}}, V311))
	p, err := ParsePublish(f, V311, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	copy(f.Body, "\x00\x05XXXXXYYYYYYY")
	if p.Topic != "topic" || string(p.Payload) != "YYYYYYY" {
		t.Errorf("%+v", p)
	}
	if cap(p.Payload) != len(p.Payload) {
		t.Error("an append to the payload would write into the next frame")
	}
	f = frameOf(t, encode(t, Publish{Message: Message{Topic: "topic"}}, V311))
	if p, _ = ParsePublish(f, V311, nil, nil); p.Payload != nil {
		t.Error("an empty payload keeps the buffer in memory")
	}
}

func TestParsePublishChecksATopicThatTopicsDoesNotHold(t *testing.T) {
	var topics Topics
	for range 2 {
		for _, topic := range []string{"a", "a/#", ""} {
			f := frameOf(t, encode(t, Publish{Message: Message{Topic: topic}}, V311))
			if p, err := ParsePublish(f, V311, &topics, nil); (err == nil) != (topic == "a") || err == nil && p.Topic != topic {
				t.Errorf("%q: %+v, %v", topic, p, err)
			}
		}
	}
}

// A property block that is cut short is not kept, so a later message that begins with its bytes is
// parsed in full.
func TestParsePublishDoesNotKeepABlockThatIsCutShort(t *testing.T) {
	var topics Topics
	want := Publish{Message: Message{Topic: "a", Properties: &Properties{ContentType: "text", ResponseTopic: "b"}}}
	whole := frameOf(t, encode(t, want, V5))
	for n := range len(whole.Body) {
		cut := Frame{Header: whole.Header, Body: whole.Body[:n:n]}
		if p, err := ParsePublish(cut, V5, &topics, nil); err == nil {
			t.Errorf("%d bytes of %d: %+v", n, len(whole.Body), p)
		}
		if p, err := ParsePublish(whole, V5, &topics, nil); err != nil || !reflect.DeepEqual(p, want) {
			t.Fatalf("after %d bytes of it: %+v, %v", n, p, err)
		}
		topics = Topics{}
	}
}

func FuzzParsePublish(f *testing.F) {
	seed(f,
		Publish{Message: Message{Topic: "a/b", Payload: []byte("m")}},
		Publish{Message: Message{Topic: "a", QoS: 1, Retain: true}, ID: 1, DUP: true},
		Publish{Message: Message{Topic: "$SYS/水", Payload: []byte{0}, QoS: 2}, ID: 65535},
		Publish{Message: Message{Topic: "a/#"}},
	)
	var topics Topics
	fuzzParser(f, true, func(f Frame, v Version) (Publish, error) {
		p, err := ParsePublish(f, v, &topics, nil)
		if q, other := ParsePublish(f, v, nil, nil); (other == nil) != (err == nil) || q.Topic != p.Topic {
			panic("the result depends on Topics")
		}
		return p, err
	})
}
