package storetest

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

var propertyCases = []scripted{
	{"each property comes back", eachProperty},
	{"it keeps no reference to properties", noReferenceToProperties},
	{"deadlines come back", deadlines},
	{"fractions of a second may be rounded up", fractions},
}

var someTime = time.Unix(1_800_000_000, 0)

// message returns a message with properties.
func message(p *frames.Properties) frames.Message {
	return frames.Message{Topic: "topic", QoS: frames.AtLeastOnce, Payload: []byte("payload"), Properties: p}
}

func everyProperty() *frames.Properties {
	return &frames.Properties{
		Expiry: time.Minute, ContentType: "application/json", ResponseTopic: "reply/1", Correlation: []byte{0, 1, 2}, Text: true,
		User: []frames.UserProperty{{Name: "b", Value: "1"}, {Name: "a", Value: ""}, {Name: "b", Value: "2"}, {Name: "b", Value: "1"}},
	}
}

func eachProperty(s *script) {
	list := []*frames.Properties{
		nil,
		{Expiry: time.Second},
		{Expiry: 4_294_967_295 * time.Second},
		{ContentType: "text/plain"},
		{ResponseTopic: "reply"},
		{Correlation: []byte("correlation")},
		{Correlation: []byte{}},
		{Text: true},
		{User: everyProperty().User},
		everyProperty(),
	}
	s.attach("a")
	want := flow.Snapshot{Owner: "a"}
	for i, p := range list {
		seq := uint64(i + 1)
		s.commit(flow.Change{Kind: flow.Accepted, Seq: seq, Message: message(p)})
		want.Publications = append(want.Publications, flow.Publication{Seq: seq, Message: message(p)})
	}
	s.holds("a", want)
	for i := range want.Publications {
		p := &want.Publications[i]
		p.ID, p.Released = uint16(i+1), true
		s.commit(flow.Change{Kind: flow.Assigned, Seq: p.Seq, ID: p.ID}, flow.Change{Kind: flow.Released, Seq: p.Seq})
	}
	s.holds("a", want)
	for _, p := range want.Publications {
		s.commit(flow.Change{Kind: flow.Completed, Seq: p.Seq})
	}
	s.holds("a", flow.Snapshot{Owner: "a"})
}

func noReferenceToProperties(s *script) {
	s.attach("a")
	want := flow.Snapshot{Owner: "a", Publications: []flow.Publication{{Seq: 1, Message: message(everyProperty())}}}
	spoil := func(p *frames.Properties) {
		p.ContentType, p.Correlation[0], p.User[0].Value = "wrong", 'x', "wrong"
	}
	p := everyProperty()
	s.commit(flow.Change{Kind: flow.Accepted, Seq: 1, Message: message(p)})
	spoil(p)
	got := s.holds("a", want)
	if s.err == nil {
		spoil(got.Publications[0].Message.Properties)
	}
	s.holds("a", want)
}

func deadlines(s *script) {
	s.attach("a")
	want := flow.Snapshot{Owner: "a"}
	for i, p := range []*frames.Properties{nil, {Expiry: time.Hour}, {ContentType: "c"}, everyProperty()} {
		for j, deadline := range []time.Time{{}, someTime, time.Unix(1, 0), someTime.AddDate(200, 0, 0)} {
			seq := uint64(10*i + j)
			s.commit(flow.Change{Kind: flow.Accepted, Seq: seq, Message: message(p), Deadline: deadline})
			want.Publications = append(want.Publications, flow.Publication{Seq: seq, Message: message(p), Deadline: deadline})
		}
	}
	s.holds("a", want)
}

// A message must not expire early.
func fractions(s *script) {
	s.attach("a")
	deadlines := []time.Time{someTime.Add(time.Nanosecond), time.Unix(0, 0), time.Unix(0, 1), someTime.Add(time.Second - 1)}
	const expiry = time.Minute + time.Millisecond
	for i, d := range deadlines {
		s.commit(flow.Change{Kind: flow.Accepted, Seq: uint64(i), Message: message(&frames.Properties{Expiry: expiry}), Deadline: d})
	}
	s.restart()
	got := s.attach("a").Publications
	if s.err == nil && len(got) != len(deadlines) {
		s.fail("%d publications, want %d", len(got), len(deadlines))
	}
	if s.err != nil {
		return
	}
	for i, p := range got {
		if late := p.Deadline.Sub(deadlines[i]); late < 0 || late > time.Second {
			s.fail("deadline %v, want %v", p.Deadline, deadlines[i])
		}
		if more := kept(p.Message.Properties).Expiry - expiry; more < 0 || more > time.Second {
			s.fail("expiry %v, want %v", kept(p.Message.Properties).Expiry, expiry)
		}
	}
}
