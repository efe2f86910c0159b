package storetest

import (
	"errors"
	"math"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

var sessionCases = []scripted{
	{"the session record comes back", sessionRecord},
	{"it keeps no reference to the session record", noReferenceToTheRecord},
	{"an assigned client identifier becomes the owner", assignedOwner},
	{"without a client identifier it takes the session of any owner", anyOwner},
	{"a cleared session has no record, and the owner stays", clearedRecord},
	{"another client identifier takes an empty one without the record", recordOfAnother},
	{"the owner of a session before MQTT 5 is stored", ownerBeforeV5},
	{"a rejected client identifier leaves the session record", recordAfterRejection},
}

// v5 returns the record of a session over MQTT 5.
func v5(clientID string) *flow.SessionRecord {
	return &flow.SessionRecord{Version: frames.V5, ClientID: clientID, Expiry: 3600, Seen: someTime}
}

func opened(r *flow.SessionRecord) flow.Change { return flow.Change{Kind: flow.Opened, Session: r} }

func sessionRecord(s *script) {
	s.attach("a")
	s.holds("a", flow.Snapshot{Owner: "a"})
	for _, r := range []flow.SessionRecord{
		{Version: frames.V311, Seen: someTime},
		{Version: frames.V5, Expiry: 1, Seen: someTime},
		{Version: frames.V5, Expiry: math.MaxUint32, Seen: someTime.Add(time.Second)},
		{Version: frames.V5, ClientID: "a", Expiry: math.MaxUint32, Seen: someTime.Add(time.Second)},
		{Version: frames.V5, Seen: someTime.Add(time.Hour)},
		{Version: frames.V311, Seen: someTime.Add(time.Hour)},
		{Version: frames.V31, Seen: someTime.Add(time.Hour)},
		{Version: frames.V5, Seen: time.Unix(0, 0)},
	} {
		s.commit(opened(&r))
		s.holds("a", flow.Snapshot{Owner: "a", Session: &r})
	}
	last := flow.SessionRecord{Version: frames.V5, Expiry: 7, Seen: someTime}
	s.commit(opened(v5("")), flow.Change{Kind: flow.Received, ID: 3}, opened(&last))
	s.holds("a", flow.Snapshot{Owner: "a", Session: &last, Received: []uint16{3}})
	s.commit(flow.Change{Kind: flow.Forgotten, ID: 3})
	s.holds("a", flow.Snapshot{Owner: "a", Session: &last})
}

func noReferenceToTheRecord(s *script) {
	s.attach("a")
	r := v5("")
	s.commit(opened(r))
	r.Expiry = 1
	got := s.holds("a", flow.Snapshot{Owner: "a", Session: v5("")})
	if s.err == nil {
		got.Session.Expiry = 2
	}
	s.holds("a", flow.Snapshot{Owner: "a", Session: v5("")})
}

// V7
func assignedOwner(s *script) {
	s.attach("")
	s.commit(flow.Change{Kind: flow.Received, ID: 3}) // the client has no identifier yet
	s.commit(opened(v5("x")))
	want := flow.Snapshot{Owner: "x", Session: v5("x"), Received: []uint16{3}}
	s.holds("", want)
	s.commit(flow.Change{Kind: flow.Received, ID: 4})
	want.Received = append(want.Received, 4)
	s.holds("x", want)
	s.rejects("y", "x")
}

// rejects restarts and attaches the store to clientID, which the store must reject, since it holds
// the session of owner.
func (s *script) rejects(clientID, owner string) {
	s.restart()
	if s.err != nil {
		return
	}
	snap, err := s.store.Attach(clientID)
	var wrong *flow.OwnerError
	if !errors.As(err, &wrong) || *wrong != (flow.OwnerError{Owner: owner, Asked: clientID}) {
		s.fail("client identifier %q: error %v", clientID, err)
	}
	if !snap.Empty() || snap.Session != nil {
		s.fail("client identifier %q got %+v", clientID, snap)
	}
}

func anyOwner(s *script) {
	s.attach("a")
	s.commit(opened(v5("")), flow.Change{Kind: flow.Received, ID: 3})
	want := flow.Snapshot{Owner: "a", Session: v5(""), Received: []uint16{3}}
	s.holds("", want)
	s.commit(flow.Change{Kind: flow.Received, ID: 4}, opened(v5("")))
	want.Received = append(want.Received, 4)
	s.holds("", want)
	s.holds("a", want)
	s.commit(flow.Change{Kind: flow.Forgotten, ID: 3}, flow.Change{Kind: flow.Forgotten, ID: 4})
	s.holds("", flow.Snapshot{Owner: "a", Session: v5("")})
}

func clearedRecord(s *script) {
	s.attach("a")
	s.commit(opened(v5("")), flow.Change{Kind: flow.Received, ID: 3})
	s.commit(flow.Change{Kind: flow.Cleared})
	s.holds("a", flow.Snapshot{Owner: "a"})
	s.commit(opened(v5("")))
	s.commit(flow.Change{Kind: flow.Cleared}, flow.Change{Kind: flow.Received, ID: 4})
	s.holds("", flow.Snapshot{Owner: "a", Received: []uint16{4}})
	s.commit(opened(v5("x")), flow.Change{Kind: flow.Cleared}, flow.Change{Kind: flow.Received, ID: 5})
	s.holds("", flow.Snapshot{Owner: "x", Received: []uint16{5}})
	s.commit(flow.Change{Kind: flow.Cleared}, opened(v5("")))
	s.holds("", flow.Snapshot{Owner: "x", Session: v5("")})
}

func recordOfAnother(s *script) {
	s.attach("")
	s.commit(opened(v5("x")))
	s.holds("x", flow.Snapshot{Owner: "x", Session: v5("x")})
	s.holds("b", flow.Snapshot{Owner: "b"})
	s.holds("b", flow.Snapshot{Owner: "b"})
	s.holds("x", flow.Snapshot{Owner: "x"})
	s.holds("b", flow.Snapshot{Owner: "b"})
	r := &flow.SessionRecord{Version: frames.V311, Seen: someTime}
	s.commit(opened(r))
	s.holds("", flow.Snapshot{Owner: "b", Session: r})
}

func ownerBeforeV5(s *script) {
	r := &flow.SessionRecord{Version: frames.V311, Seen: someTime}
	s.attach("a")
	s.commit(opened(r))
	s.holds("b", flow.Snapshot{Owner: "b"})
	s.commit(opened(r))
	s.holds("", flow.Snapshot{Owner: "b", Session: r})
}

func recordAfterRejection(s *script) {
	s.attach("a")
	s.commit(opened(v5("")), flow.Change{Kind: flow.Received, ID: 3})
	s.rejects("b", "a")
	s.again = func() flow.Store { return s.store } // no session is attached that could detach
	want := flow.Snapshot{Owner: "a", Session: v5(""), Received: []uint16{3}}
	if got := s.attach("a"); s.err == nil {
		if diff := difference(got, want); diff != "" {
			s.fail("%s", diff)
		}
	}
}
