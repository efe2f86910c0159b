package storetest

import (
	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

var contentCases = []scripted{
	{"a new one is empty", newStore},
	{"a publication goes from accepted to completed", acceptedToCompleted},
	{"a publication without a topic takes the place of one that was given up", givenUp},
	{"an identifier can be taken back", identifierTakenBack},
	{"the changes of a commit are applied in order", orderInACommit},
	{"the snapshot is in order of acceptance, identifiers rising", orderOfSnapshot},
	{"changes of unknown publications and identifiers have no effect", unknownChanges},
	{"a cleared store is empty and accepts later changes", cleared},
	{"it keeps no reference to changes and payloads", noReferenceToChanges},
}

func plain(qos frames.QoS, payload string) frames.Message {
	return frames.Message{Topic: "topic", QoS: qos, Payload: []byte(payload), Retain: qos == frames.ExactlyOnce}
}

// owned returns the content of a session of the client identifier a.
func owned(publications ...flow.Publication) flow.Snapshot {
	return flow.Snapshot{Owner: "a", Publications: publications}
}

func newStore(s *script) {
	if snap := s.attach("a"); !snap.Empty() {
		s.fail("holds %+v", snap)
	}
}

func acceptedToCompleted(s *script) {
	s.attach("a")
	want := flow.Publication{Seq: 1, Message: plain(2, "x")}
	s.commit(flow.Change{Kind: flow.Accepted, Seq: 1, Message: plain(2, "x")})
	s.holds("a", owned(want))

	want.ID = 7
	s.commit(flow.Change{Kind: flow.Assigned, Seq: 1, ID: 7})
	s.holds("a", owned(want))

	want.Released = true
	s.commit(flow.Change{Kind: flow.Released, Seq: 1})
	s.holds("a", owned(want))

	s.commit(flow.Change{Kind: flow.Completed, Seq: 1})
	s.holds("a", owned())
}

func givenUp(s *script) {
	s.attach("a")
	s.commit(flow.Change{Kind: flow.Accepted, Seq: 1, Message: plain(2, "x")}, flow.Change{Kind: flow.Assigned, Seq: 1, ID: 7})
	blank := flow.Publication{Seq: 2, ID: 7, Message: frames.Message{QoS: frames.AtLeastOnce}}
	s.commit(flow.Change{Kind: flow.Completed, Seq: 1}, flow.Change{Kind: flow.Accepted, Seq: 2, Message: blank.Message},
		flow.Change{Kind: flow.Assigned, Seq: 2, ID: 7})
	if got := s.holds("a", owned(blank)); s.err == nil && !got.Publications[0].GivenUp() {
		s.fail("%+v does not count as given up", got.Publications[0])
	}
	s.commit(flow.Change{Kind: flow.Completed, Seq: 2})
	s.holds("a", owned())
}

func identifierTakenBack(s *script) {
	s.attach("a")
	s.commit(flow.Change{Kind: flow.Accepted, Seq: 1, Message: plain(1, "x")},
		flow.Change{Kind: flow.Assigned, Seq: 1, ID: 7}, flow.Change{Kind: flow.Assigned, Seq: 1})
	s.holds("a", owned(flow.Publication{Seq: 1, Message: plain(1, "x")}))
}

func orderInACommit(s *script) {
	s.attach("a")
	s.commit(
		flow.Change{Kind: flow.Accepted, Seq: 1, Message: plain(1, "gone")},
		flow.Change{Kind: flow.Received, ID: 4},
		flow.Change{Kind: flow.Completed, Seq: 1},
		flow.Change{Kind: flow.Forgotten, ID: 4},
		flow.Change{Kind: flow.Received, ID: 4},
		flow.Change{Kind: flow.Accepted, Seq: 2, Message: plain(1, "here")},
		flow.Change{Kind: flow.Assigned, Seq: 2, ID: 1},
		flow.Change{Kind: flow.Assigned, Seq: 2, ID: 9},
	)
	want := owned(flow.Publication{Seq: 2, Message: plain(1, "here"), ID: 9})
	want.Received = []uint16{4}
	s.holds("a", want)
}

func orderOfSnapshot(s *script) {
	s.attach("a")
	for _, seq := range []uint64{1 << 40, 3, 256, 1, 255} {
		s.commit(flow.Change{Kind: flow.Accepted, Seq: seq, Message: plain(1, "")})
	}
	for _, id := range []uint16{65_535, 1, 256, 255} {
		s.commit(flow.Change{Kind: flow.Received, ID: id})
	}
	want := owned()
	for _, seq := range []uint64{1, 3, 255, 256, 1 << 40} {
		want.Publications = append(want.Publications, flow.Publication{Seq: seq, Message: plain(1, "")})
	}
	want.Received = []uint16{1, 255, 256, 65_535}
	s.holds("a", want)
}

func unknownChanges(s *script) {
	s.attach("a")
	s.commit(flow.Change{Kind: flow.Completed, Seq: 5}, flow.Change{Kind: flow.Forgotten, ID: 5},
		flow.Change{Kind: flow.Assigned, Seq: 5, ID: 5}, flow.Change{Kind: flow.Released, Seq: 5})
	s.commit()
	s.holds("a", owned())
}

func cleared(s *script) {
	s.attach("a")
	s.commit(flow.Change{Kind: flow.Accepted, Seq: 1, Message: plain(1, "old")}, flow.Change{Kind: flow.Received, ID: 1})
	s.commit(flow.Change{Kind: flow.Cleared}, flow.Change{Kind: flow.Accepted, Seq: 2, Message: plain(1, "new")})
	s.holds("a", owned(flow.Publication{Seq: 2, Message: plain(1, "new")}))
}

func noReferenceToChanges(s *script) {
	s.attach("a")
	payload := []byte("right")
	changes := []flow.Change{{Kind: flow.Accepted, Seq: 1, Message: frames.Message{Topic: "topic", QoS: 1, Payload: payload}}}
	s.commit(changes...)
	copy(payload, "wrong")
	changes[0] = flow.Change{}
	want := owned(flow.Publication{Seq: 1, Message: plain(1, "right")})
	got := s.holds("a", want)
	if s.err == nil {
		copy(got.Publications[0].Message.Payload, "wrong")
	}
	s.holds("a", want)
}
