package frames

import (
	"errors"
	"slices"
	"testing"
)

// hotTopic and hotPublish make typical traffic, with a short repeated topic and a payload of 64
// bytes.
const hotTopic = "mill/house-7/wheel/speed"

func hotPublish(qos QoS) Publish {
	return Publish{Message: Message{Topic: hotTopic, Payload: make([]byte, 64), QoS: qos}, ID: 1000}
}

// twoTopics returns two frames to parse in turn. Topics finds a repeated topic by a comparison, but
// alternating topics only by a lookup.
func twoTopics(tb testing.TB) (one, two Frame) {
	p, q := hotPublish(AtLeastOnce), hotPublish(AtLeastOnce)
	q.Topic = "mill/house-8/wheel/speed"
	return frameOf(tb, encode(tb, p, V311)), frameOf(tb, encode(tb, q, V311))
}

// These functions run for every message, so they must not allocate.
func TestEncodingAndParsingAMessageAllocateNothing(t *testing.T) {
	buf := make([]byte, 0, 1024)
	one, two := twoTopics(t)
	ack := frameOf(t, encode(t, Ack{Kind: TypePuback, ID: 1}, V311))
	p0, p1 := hotPublish(AtMostOnce), hotPublish(AtLeastOnce)
	aliased, both := p0, p0
	aliased.Topic, aliased.Alias, both.Alias = "", 1, 1
	both.Properties = &Properties{ContentType: "text/plain"}
	out := NewOutboundAliases(16)
	for range 3 { // until both topics have an alias
		out.Use(hotTopic)
		out.Use("mill/house-8/wheel/speed")
	}
	out.Confirm(1)
	out.Confirm(2)
	var topics Topics
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"Publish.Append at QoS 0", func() (err error) { buf, err = p0.Append(buf[:0], V311); return err }},
		{"Publish.Append at QoS 1", func() (err error) { buf, err = p1.Append(buf[:0], V311); return err }},
		{"Publish.Append with an alias", func() (err error) { buf, err = aliased.Append(buf[:0], V5); return err }},
		{"Publish.Append with an alias and properties", func() (err error) { buf, err = both.Append(buf[:0], V5); return err }},
		{"OutboundAliases.Use", func() error {
			for _, topic := range []string{hotTopic, "mill/house-8/wheel/speed"} {
				if alias, known := out.Use(topic); alias != 0 && !known {
					out.Confirm(alias)
				}
			}
			return nil
		}},
		{"Ack.Append", func() (err error) { buf, err = Ack{Kind: TypePuback, ID: 1}.Append(buf[:0], V311); return err }},
		{"ParsePublish, a repeated topic", func() error { _, err := ParsePublish(one, V311, &topics, nil); return err }},
		{"ParsePublish, two topics in turn", func() error {
			_, err1 := ParsePublish(one, V311, &topics, nil)
			_, err2 := ParsePublish(two, V311, &topics, nil)
			return errors.Join(err1, err2)
		}},
		{"ParseAck", func() error { _, err := ParseAck(ack, V311); return err }},
		{"Message.Validate", func() error { return p1.Validate(V31) }},
		{"Match", func() error { Match("mill/+/wheel/#", hotTopic); return nil }},
	} {
		n := testing.AllocsPerRun(100, func() { // AllocsPerRun does not count its first run, which adds the topics
			if err := c.run(); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func BenchmarkPublishAppend(b *testing.B) {
	aliased := hotPublish(AtMostOnce)
	aliased.Topic, aliased.Alias = "", 1
	for _, c := range []struct {
		name string
		p    Publish
		v    Version
	}{
		{"at most once", hotPublish(AtMostOnce), V311},
		{"at least once", hotPublish(AtLeastOnce), V311},
		{"MQTT 5", hotPublish(AtMostOnce), V5},
		{"MQTT 5 with an alias", aliased, V5},
	} {
		b.Run(c.name, func(b *testing.B) {
			buf := make([]byte, 0, 64<<10) // filled with a batch of packets, as by a connection
			b.ReportAllocs()
			for b.Loop() {
				if cap(buf)-len(buf) < 200 {
					buf = buf[:0]
				}
				var err error
				if buf, err = c.p.Append(buf, c.v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParsePublish(b *testing.B) {
	one, two := twoTopics(b)
	for _, c := range []struct {
		name     string
		one, two Frame
	}{{"one topic", one, one}, {"two topics in turn", one, two}} {
		b.Run(c.name, func(b *testing.B) {
			var topics Topics
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParsePublish(c.one, V311, &topics, nil); err != nil {
					b.Fatal(err)
				}
				c.one, c.two = c.two, c.one
			}
		})
	}
}

func BenchmarkParseAck(b *testing.B) {
	ack := frameOf(b, encode(b, Ack{Kind: TypePuback, ID: 1}, V311))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseAck(ack, V311); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNext measures Next alone: one read returned many frames before.
func BenchmarkNext(b *testing.B) {
	for _, p := range []Packet{hotPublish(AtLeastOnce), Ack{Kind: TypePuback, ID: 1}} {
		b.Run(p.Type().String(), func(b *testing.B) {
			many := slices.Repeat(encode(b, p, V311), 600)
			r := &Reader{buf: many, w: len(many), limit: MaxPacket}
			b.ReportAllocs()
			for b.Loop() {
				if r.r == r.w {
					r.r = 0
				}
				if _, ok, err := r.Next(); !ok {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReader measures Next and Fill on an endless source.
func BenchmarkReader(b *testing.B) {
	for _, keep := range []bool{false, true} {
		name := map[bool]string{false: "reuse", true: "keep"}[keep]
		b.Run(name, func(b *testing.B) {
			r := NewReader(&flood{bytes: encode(b, hotPublish(AtLeastOnce), V311)}, 0)
			b.ReportAllocs()
			for b.Loop() {
				for ok := false; !ok; {
					if _, ok, _ = r.Next(); !ok {
						if keep {
							r.Keep()
						}
						_ = r.Fill()
					}
				}
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, filter := range []string{hotTopic, "mill/+/wheel/speed", "mill/#"} {
		b.Run(filter, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !Match(filter, hotTopic) {
					b.Fatal("no match")
				}
			}
		})
	}
}

func BenchmarkMessageValidate(b *testing.B) {
	m := hotPublish(AtLeastOnce).Message
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Validate(V311); err != nil {
			b.Fatal(err)
		}
	}
}
