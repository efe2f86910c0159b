package flow

import (
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// limited returns a script whose queue takes n messages of the size of one-letter names.
func limited(t *testing.T, window int, l QueueLimit) *script {
	s := newScript(t, window, nil)
	s.Limit(l)
	return s
}

func (s *script) evicts(payload int, room bool, ends ...string) {
	s.t.Helper()
	var got []string
	m := frames.Message{Topic: "t", Payload: make([]byte, payload)}
	ok := s.Evict(&m, func(e Ended[string]) {
		if e.Sent || e.ID != 0 {
			s.t.Errorf("%q was sent", e.Owner)
		}
		got = append(got, e.Owner)
	})
	s.same("evicts", got, ends)
	equal(s.t, "room", ok, room)
}

const letter = 2 + Overhead // the cost of a message of a script

func TestTheOldestQueuedPublicationGivesWay(t *testing.T) {
	s := limited(t, 1, QueueLimit{Messages: 3, Full: EvictOldest})
	s.add(1, "a", "b")
	s.sends("a#1")
	s.evicts(1, true)
	s.add(0, "c")
	s.add(2, "d")
	s.evicts(1, true, "b")
	s.evicts(1, true)
	s.add(1, "e")
	s.evicts(1, true, "c")
	s.ack(puback, 1, Confirmed, "a")
	s.sends("d#2")
}

func TestAPublicationThatMayHaveBeenSentNeverGivesWay(t *testing.T) {
	s := limited(t, 2, QueueLimit{Messages: 1, Full: EvictOldest})
	s.add(1, "a", "b")
	s.sends("a#1", "b#2")
	s.take()
	s.lost(true)
	s.add(1, "c")
	s.evicts(1, true, "c")
	s.sends("a#1 dup", "b#2 dup")
	s.take()
	s.lost(true)
	s.sessionLost()
	s.add(1, "d")
	s.Lower(frames.AtMostOnce) // a queued message that an earlier session may have
	s.counts(2, 1, 3)
	s.evicts(1, false, "d")
}

func TestBytesBoundTheQueue(t *testing.T) {
	s := limited(t, 1, QueueLimit{Messages: 100, Bytes: 3 * letter, Full: EvictOldest})
	s.add(1, "a", "b", "c")
	equal(t, "bytes", s.QueuedBytes(), 3*letter)
	s.evicts(1+3*letter-letter+1, false) // above the limit alone, so nothing gives way
	s.evicts(1+letter, true, "a", "b")
	s.sends("c#1")
	equal(t, "bytes", s.QueuedBytes(), 0)
	s.evicts(1+2*letter, true)
}

func TestOneMessageOfARunGivesWay(t *testing.T) {
	s := limited(t, 1, QueueLimit{Messages: 3, Full: EvictOldest})
	s.add(1, "a")
	var run []frames.Message
	for _, name := range []string{"b", "c", "d"} {
		run = append(run, frames.Message{Topic: "t", Payload: []byte(name)})
	}
	s.Send(s.batch, 0)
	s.AddRun(run, "run", 0, Expiry{})
	s.evicts(1, true, "run")
	s.counts(2, 1, 3)
	s.sends("c", "d")
}

// In the Store an evicted publication is replaced by the new one in the same commit, or the Store
// never hears of it.
func TestAnEvictedPublicationLeavesTheStoreWithTheNextCommit(t *testing.T) {
	s := limited(t, 1, QueueLimit{Messages: 1, Full: EvictOldest})
	s.add(1, "a")
	s.journal.MoveTo(nil)
	s.evicts(1, true, "a")
	s.add(1, "b")
	s.evicts(1, true, "b")
	s.add(1, "c")
	got := s.journal.MoveTo(nil)
	if len(got) != 2 || got[0].Kind != Completed || got[0].Seq != 1 || got[1].Kind != Accepted || got[1].Seq != 3 {
		t.Errorf("the changes are %+v", got)
	}
}

// The last message that Block takes may be above the limit in bytes, since it was received already.
func TestRoomIsForWholeMessagesUnlessTheyBlock(t *testing.T) {
	m := frames.Message{Topic: "t", Payload: make([]byte, 2*letter)}
	for full, want := range map[Full]bool{Block: true, Refuse: false, EvictOldest: false} {
		s := limited(t, 1, QueueLimit{Messages: 9, Bytes: 2 * letter, Full: full})
		s.add(1, "a")
		room := s.Room()
		if !room.Left() || room.Take(&m) != want {
			t.Errorf("%d: the message fits: %v, want %v", full, !want, want)
		}
		equal(t, "room left", room.Left(), !want)
	}
}

func TestTheQueueIsRelaxedWhenHalfOfBothLimitsIsFree(t *testing.T) {
	s := limited(t, 9, QueueLimit{Messages: 4, Bytes: 6 * letter, Full: Refuse})
	s.add(1, "a", "b")
	equal(t, "relaxed with 2 of 4 messages", s.Relaxed(), true)
	s.add(1, "c")
	equal(t, "relaxed with 3 of 4 messages", s.Relaxed(), false)
	s.sends("a#1", "b#2", "c#3")
	s.Add(frames.Message{Topic: "t", QoS: 1, Payload: make([]byte, 3*letter)}, "d", 0, Expiry{})
	equal(t, "relaxed with most of the bytes", s.Relaxed(), false)
}
