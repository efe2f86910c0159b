package flow

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

func TestOwnerErrorNamesBoth(t *testing.T) {
	err := &OwnerError{Owner: "pump-1", Asked: "pump-2"}
	equal(t, "text", err.Error(), `the store holds the session of client identifier "pump-1", not of "pump-2"`)
}

func TestSnapshotWithAnythingInItIsNotEmpty(t *testing.T) {
	equal(t, "nothing", Snapshot{}.Empty(), true)
	equal(t, "a publication", Snapshot{Publications: make([]Publication, 1)}.Empty(), false)
	equal(t, "an identifier", Snapshot{Received: []uint16{1}}.Empty(), false)
	equal(t, "an owner and a record", Snapshot{Owner: "a", Session: new(SessionRecord)}.Empty(), true)
}

func TestJournalAppendsItsChangesOnceInOrder(t *testing.T) {
	var j Journal
	j.record(Change{Kind: Received, ID: 1})
	j.Clear()
	equal(t, "waiting", j.Len(), 2)
	got := j.MoveTo([]Change{{Kind: Completed, Seq: 9}})
	want := []Change{{Kind: Completed, Seq: 9}, {Kind: Received, ID: 1}, {Kind: Cleared}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	equal(t, "waiting after", j.Len(), 0)

	j.record(Change{Kind: Received, ID: 2})
	if got := j.MoveTo(got); !reflect.DeepEqual(got, append(want, Change{Kind: Received, ID: 2})) {
		t.Errorf("the moved changes were modified: %+v", got)
	}
}

func TestJournalTellsTheKindsOfItsChanges(t *testing.T) {
	var none *Journal
	equal(t, "without a journal", none.Kinds(), 0)
	var j Journal
	j.record(Change{Kind: Received, ID: 1})
	j.Clear()
	for k := Accepted; k <= Opened; k++ {
		equal(t, "has a kind", j.Kinds().Has(k), k == Received || k == Cleared)
	}
	j.MoveTo(nil)
	equal(t, "after MoveTo", j.Kinds(), 0)
}

func TestJournalKeepsItsOwnSessionRecordInWholeSeconds(t *testing.T) {
	var none *Journal
	none.Open(SessionRecord{}) // has no effect
	var j Journal
	r := SessionRecord{Version: frames.V5, ClientID: "x", Expiry: 7, Seen: time.Unix(5, 999_999_999)}
	j.Open(r)
	equal(t, "has the kind", j.Kinds().Has(Opened), true)
	got := j.MoveTo(nil)
	r.Seen = time.Unix(5, 0)
	if want := []Change{{Kind: Opened, Session: &r}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// Changes without a place in the order of publications stand among those that have one.
func TestAPublicationIsWithdrawnFromBetweenOtherChanges(t *testing.T) {
	for withdrawn := range uint64(20) {
		var j Journal
		for seq := range uint64(20) {
			j.record(Change{Kind: Accepted, Seq: seq + 1})
			for range seq % 4 {
				j.Open(SessionRecord{})
				j.Clear()
			}
		}
		n := j.Len()
		equal(t, "withdrawn", j.withdraw(withdrawn+1), true)
		equal(t, "left", j.Len(), n-1)
		equal(t, "withdrawn again", j.withdraw(withdrawn+1), false)
	}
}

func TestJournalThatWasMovedHoldsNoPayload(t *testing.T) {
	var j Journal
	j.record(Change{Kind: Accepted, Seq: 1, Message: message(1, 1)})
	j.MoveTo(nil)
	if c := j.changes[:1][0]; c.Message.Payload != nil {
		t.Error("the journal still holds a payload")
	}
}

// U32: publications that are withdrawn before a commit leave nothing in the journal.
func TestWithdrawnPublicationsLeaveTheJournal(t *testing.T) {
	for _, inTheirOrder := range []bool{true, false} {
		j := new(Journal)
		s := NewSender[int](1, new(Identifiers), nil, j)
		var handles []Handle
		for i := range 1000 {
			handles = append(handles, s.Add(message(frames.QoS(1+i%2), i), i, 0, Expiry{}))
			if i == 0 {
				s.Send(1, 0) // assigns an identifier, so that another change is between them
			}
		}
		if !inTheirOrder {
			slices.Reverse(handles[1:])
		}
		for i, h := range handles[1:] {
			if gone, _ := s.Withdraw(h); !gone {
				t.Fatalf("publication %d was not withdrawn", i)
			}
			equal(t, "changes", j.Len(), 1000-i)
			if len(j.changes) > 2*j.Len()+1 {
				t.Fatalf("the journal has room for %d changes, and %d are left", len(j.changes), j.Len())
			}
		}
		got := j.MoveTo(nil)
		if len(got) != 2 || got[0].Kind != Accepted || got[1].Kind != Assigned || got[0].Seq != 1 || got[1].Seq != 1 {
			t.Errorf("left %+v", got)
		}
	}
}

func TestWithdrawnPublicationThatTheStoreMayHaveIsCompleted(t *testing.T) {
	j := new(Journal)
	s := NewSender[int](1, new(Identifiers), nil, j)
	early := s.Add(message(1, 1), 1, 0, Expiry{})
	j.MoveTo(nil) // a commit takes it
	late := s.Add(message(1, 2), 2, 0, Expiry{})
	last := s.Add(message(1, 3), 3, 0, Expiry{})
	for _, h := range []Handle{late, early} {
		if gone, _ := s.Withdraw(h); !gone {
			t.Fatal("not withdrawn")
		}
	}
	got := j.MoveTo(nil)
	if len(got) != 2 || got[0].Seq != last.seq || got[1].Kind != Completed || got[1].Seq != early.seq {
		t.Errorf("got %+v", got)
	}
}

func TestNilJournalDropsEverything(t *testing.T) {
	var j *Journal
	j.record(Change{Kind: Received, ID: 1})
	j.Clear()
	if got := j.MoveTo(nil); got != nil || j.Len() != 0 {
		t.Errorf("got %+v, Len %d", got, j.Len())
	}
}
