package flow

import (
	"reflect"
	"testing"
)

func TestOwnerErrorNamesBoth(t *testing.T) {
	err := &OwnerError{Owner: "pump-1", Asked: "pump-2"}
	equal(t, "text", err.Error(), `the store holds the session of client identifier "pump-1", not of "pump-2"`)
}

func TestSnapshotWithAnythingInItIsNotEmpty(t *testing.T) {
	equal(t, "nothing", Snapshot{}.Empty(), true)
	equal(t, "a publication", Snapshot{Publications: make([]Publication, 1)}.Empty(), false)
	equal(t, "an identifier", Snapshot{Received: []uint16{1}}.Empty(), false)
}

func TestJournalGivesChangesOnceInOrderBehindWhatWasThere(t *testing.T) {
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

func TestJournalThatWasMovedHoldsNoPayload(t *testing.T) {
	var j Journal
	j.record(Change{Kind: Accepted, Seq: 1, Message: message(1, 1)})
	j.MoveTo(nil)
	if c := j.changes[:1][0]; c.Message.Payload != nil {
		t.Error("the journal still holds a payload")
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
