package flow

import (
	"reflect"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

func wantAlone(t *testing.T, p *Poison, seq uint64) {
	t.Helper()
	if got, alone := p.Alone(); alone != (seq > 0) || alone && got != seq {
		t.Errorf("alone is %d, %v, want %d", got, alone, seq)
	}
}

func wantDue(t *testing.T, p *Poison, seq uint64) {
	t.Helper()
	if got, _, due := p.Due(); due != (seq > 0) || got != seq {
		t.Errorf("due is %d, %v, want %d", got, due, seq)
	}
}

func TestPublicationIsDueAfterClosesInARow(t *testing.T) {
	p := NewPoison(3)
	wantAlone(t, p, 0)
	for n := 1; n <= 3; n++ {
		p.Connected(0)
		wantDue(t, p, 0)
		if got := p.Closed(7); got != n {
			t.Errorf("close %d counts as %d", n, got)
		}
		wantAlone(t, p, 7)
	}
	wantDue(t, p, 7)
	p.Forget()
	wantAlone(t, p, 0)
	wantDue(t, p, 0)
}

func TestAckBeginsTheCountAnew(t *testing.T) {
	p := NewPoison(2)
	p.Connected(0)
	p.Closed(7)
	p.Connected(0)
	p.Acked()
	wantAlone(t, p, 0)
	if n := p.Closed(7); n != 0 {
		t.Errorf("the close of a connection with an ack counts as %d", n)
	}
	p.Connected(0)
	if n := p.Closed(7); n != 1 {
		t.Errorf("the next close counts as %d", n)
	}
	wantDue(t, p, 0)
}

func TestCloseBeforeThePublishChangesNothing(t *testing.T) {
	p := NewPoison(2)
	p.Connected(0)
	p.Closed(7)
	p.Connected(0)
	p.Closed(0)
	wantAlone(t, p, 7)
	wantDue(t, p, 0)
	p.Connected(0)
	p.Closed(7)
	wantDue(t, p, 7)
}

func TestAnotherPublicationBeginsTheCountAnew(t *testing.T) {
	p := NewPoison(2)
	p.Closed(7)
	if n := p.Closed(8); n != 1 {
		t.Errorf("the close counts as %d", n)
	}
	wantAlone(t, p, 8)
}

func TestSuspectedPublicationIsSentOncePerConnection(t *testing.T) {
	p := NewPoison(2)
	p.Closed(7)
	p.Connected(0)
	if p.WasSent() {
		t.Error("sent at once")
	}
	if p.Sent(); !p.WasSent() {
		t.Error("not sent")
	}
	if p.Connected(0); p.WasSent() {
		t.Error("sent on the next connection")
	}
}

func TestWithoutALimitNothingIsSuspected(t *testing.T) {
	p := NewPoison(0)
	p.Connected(0)
	p.Acked()
	wantAlone(t, p, 0)
	wantDue(t, p, 0)
}

func TestSuspectIsTheOldestPublicationSent(t *testing.T) {
	s := newScript(t, 2, nil)
	want := func(reached, seq uint64) {
		t.Helper()
		if got := s.Suspect(reached); got != seq {
			t.Errorf("suspect up to batch %d is %d, want %d", reached, got, seq)
		}
	}
	want(9, 0)
	s.add(0, "a")
	s.add(1, "b", "c")
	want(9, 0) // QoS 0
	s.sends("a", "b#1", "c#2")
	want(0, 0)
	want(1, 2)
	s.take()
	s.lost(true, "a")
	want(9, 0) // not sent again yet
	s.sends("b#1 dup", "c#2 dup")
	s.ack(puback, 1, Confirmed, "b")
	want(9, 3)
}

// The place of the message in the store keeps the identifier, until the broker has lost the
// session.
func TestIdentifierOfAPublicationGivenUpStaysInUse(t *testing.T) {
	store := NewMemoryStore()
	s := newScript(t, 1, nil)
	s.add(2, "a")
	s.add(1, "b")
	s.sends("a#1")
	s.take()
	s.lost(true)
	if _, ok := s.GiveUp(2); ok {
		t.Error("gave up a publication that is not the oldest")
	}
	e, ok := s.GiveUp(1)
	if !ok || e.ID != 1 || e.Owner != "a" {
		t.Fatalf("gave up %+v, %v", e, ok)
	}
	s.ids.last = 0
	s.sends("b#2")
	s.counts(0, 1, 1)
	if _, outcome := s.Acknowledge(frames.TypePuback, 1, 0, allHanded, 0); outcome != Ignored {
		t.Errorf("a late ack has the outcome %v", outcome)
	}
	if err := store.Commit(s.journal.MoveTo(nil)); err != nil {
		t.Fatal(err)
	}

	snap, _ := store.Attach("")
	kept := Publication{Seq: 3, ID: 1, Message: frames.Message{QoS: 1}}
	if got := snap.Publications; len(got) != 2 || !got[1].GivenUp() || got[0].GivenUp() || !reflect.DeepEqual(got[1], kept) {
		t.Fatalf("the store holds %+v", got)
	}
	next := newScript(t, 9, nil)
	for _, p := range snap.Publications {
		if !next.Restore(p, "restored", 0) {
			t.Fatalf("%+v was not restored", p)
		}
	}
	next.counts(0, 1, 1)
	if next.Restore(kept, "again", 0) {
		t.Error("an identifier was restored twice")
	}
	next.ids.last = 0
	next.add(1, "c")
	next.sends("b#2 dup", "c#3")
	next.take()
	next.SessionLost(func(e Ended[string]) { t.Errorf("%+v ended", e) })
	if _, used := next.ids.Lookup(1); used {
		t.Error("the identifier is in use after the broker has lost the session")
	}
	if c := next.journal.MoveTo(nil); !reflect.DeepEqual(c[len(c)-1], Change{Kind: Completed, Seq: 3}) {
		t.Errorf("the changes are %+v", c)
	}
}

func TestPublicationPastPubrecIsNotGivenUp(t *testing.T) {
	s := newScript(t, 1, nil)
	s.add(2, "a")
	s.sends("a#1")
	s.take()
	s.ack(pubrec, 1, Release, "")
	s.lost(true)
	if e, ok := s.GiveUp(1); ok {
		t.Errorf("gave up %+v", e)
	}
	s.sends("PUBREL#1")
}

// Other publications in a failed commit end with it. The identifier must stay in the store.
func TestFailedCommitKeepsTheIdentifierOfAPublicationGivenUp(t *testing.T) {
	s := newScript(t, 1, nil)
	s.add(1, "a")
	s.sends("a#1")
	s.take()
	s.lost(true)
	s.journal.MoveTo(nil)
	s.GiveUp(1)
	s.add(1, "b")
	changes := s.journal.MoveTo(nil)
	s.CommitFailed(changes, func(Ended[string]) {})
	want := []Change{
		{Kind: Completed, Seq: 1},
		{Kind: Accepted, Seq: 2, Message: frames.Message{QoS: 1}},
		{Kind: Assigned, Seq: 2, ID: 1},
		{Kind: Completed, Seq: 3},
	}
	if !reflect.DeepEqual(changes, want) {
		t.Errorf("to be committed: %+v", changes)
	}
}
