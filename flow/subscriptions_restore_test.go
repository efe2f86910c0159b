package flow

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestNewConnectionAsksForTheFiltersThatTheBrokerDoesNotHave(t *testing.T) {
	for _, c := range []struct {
		name      string
		kept, all bool
		want      []string
		ended     []string
		leaving   string
	}{
		{"session kept", true, false,
			[]string{"SUBSCRIBE#4 b:1", "SUBSCRIBE#5 c:1", "UNSUBSCRIBE#6 x"}, nil, "X"},
		{"session gone", false, true,
			[]string{"SUBSCRIBE#4 a:1", "SUBSCRIBE#5 b:1", "SUBSCRIBE#6 c:1"}, []string{"X"}, ""},
		{"session unknown", true, true,
			[]string{"SUBSCRIBE#4 a:1", "SUBSCRIBE#5 b:1", "SUBSCRIBE#6 c:1", "UNSUBSCRIBE#7 x"}, nil, "X"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSubscriber(t, nil)
			s.granted("A", "a:1")
			s.granted("X", "x:0")
			s.adds("B", true, "b:1")
			s.sends("SUBSCRIBE#3 b:1")
			equal(t, "owners that end", len(s.Lost(true)), 0)
			equal(t, "identifiers in use", s.ids.Len(), 0)
			s.adds("C", false, "c:1")
			equal(t, "X has ended", s.Remove("X", false, true), false)
			if got := s.Restore(c.kept, c.all); !slices.Equal(got, c.ended) {
				t.Fatalf("ended: %q, want %q", got, c.ended)
			}
			s.sends(c.want...)
			equal(t, "leaving", strings.Join(s.Leaving(), " "), c.leaving)
		})
	}
}

// If the connection is lost before SUBACK, the filters of an active owner are requested again.
func TestOwnerIsAskedForUntilItsLastAnswer(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:1")
	s.Lost(true)
	s.Restore(false, true)
	s.sends("SUBSCRIBE#2 a:1")
	s.Lost(true)
	s.Restore(true, false)
	s.sends("SUBSCRIBE#3 a:1")
	s.suback(3, Unchanged, 1)
	s.Lost(true)
	s.Restore(true, false)
	s.sends()
}

func TestQueuedSubscribeIsNotSentTwiceAfterALostConnection(t *testing.T) {
	s := newSubscriber(t, nil)
	s.adds("A", true, "a:1")
	s.Lost(true)
	s.sends()
	s.Restore(true, false)
	s.sends("SUBSCRIBE#1 a:1")
}

func TestUnsubscribeThatLostItsConnectionIsRepeatedInAKeptSession(t *testing.T) {
	t.Run("of a leaving owner", func(t *testing.T) {
		s := newSubscriber(t, nil)
		s.granted("A", "a:1")
		s.Remove("A", true, true)
		s.sends("UNSUBSCRIBE#2 a")
		equal(t, "owners that end", len(s.Lost(true)), 0)
		s.sends()
		equal(t, "owners that end", len(s.Restore(true, false)), 0)
		s.sends("UNSUBSCRIBE#3 a")
		s.unsuback(3, "A")
	})
	t.Run("that nobody waits for", func(t *testing.T) {
		s := newSubscriber(t, nil)
		s.adds("A", true, "a:1", "b:1", "c:1")
		s.sends("SUBSCRIBE#1 a:1 b:1 c:1")
		s.suback(1, Rejected, 1, 1, 0x80)
		s.sends("UNSUBSCRIBE#2 a b")
		s.adds("B", true, "a:1")
		s.Lost(true) // B wants the filter a by now
		s.sends("UNSUBSCRIBE#3 b")
		s.Lost(true)
		s.Restore(true, false)
		s.sends("UNSUBSCRIBE#4 b", "SUBSCRIBE#5 a:1")
		s.adds("C", true, "b:1")
		s.Lost(true)
		s.sends()
	})
	t.Run("queued", func(t *testing.T) {
		s := newSubscriber(t, nil)
		s.adds("A", false, "a:1")
		s.Abandon("A", true)
		s.Lost(true)
		s.sends("UNSUBSCRIBE#1 a")
	})
}

func TestSessionThatIsNotKeptEndsTheLeavingOwners(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:1")
	s.granted("B", "b:1")
	s.granted("C", "c:1")
	s.adds("D", true, "d:1")
	s.Remove("B", true, false)
	s.Remove("A", true, false)
	s.Abandon("D", true)
	s.sends("UNSUBSCRIBE#4 b", "UNSUBSCRIBE#5 a", "UNSUBSCRIBE#6 d")
	if got := s.Lost(false); !slices.Equal(got, []string{"B", "A"}) {
		t.Fatalf("ended: %q", got)
	}
	s.has("C |")
	s.lookup("a")
	s.sends()
	equal(t, "C has ended offline", s.Remove("C", false, false), true)
	s.has("|")
}

// Another owner adds the filter while the UNSUBSCRIBE of the first owner waits for a connection.
func TestLeavingOwnerWhoseFiltersAreWantedAgainEndsAtRestore(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:1")
	s.Lost(true)
	s.Remove("A", false, true)
	s.adds("B", false, "a:0")
	if got := s.Restore(true, false); !slices.Equal(got, []string{"A"}) {
		t.Fatalf("ended: %q", got)
	}
	s.sends("SUBSCRIBE#2 a:0")
}

func TestRemoveTakesItsSubscribeOutOfTheQueue(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:1")
	s.Lost(true)
	s.Restore(false, true)
	s.adds("B", true, "b:1")
	s.Remove("A", true, true)
	s.sends("SUBSCRIBE#2 b:1", "UNSUBSCRIBE#3 a")
}

func TestSubackOfALeavingOwnerDoesNotCountAsItsUnsuback(t *testing.T) {
	s := newSubscriber(t, nil)
	long := strings.Repeat("a", requestBytes) // a packet of its own
	s.adds("A", true, long+":1", "b:1")
	s.sends("SUBSCRIBE#1 "+long+":1", "SUBSCRIBE#2 b:1")
	s.Remove("A", true, true)
	s.sends("UNSUBSCRIBE#3 "+long, "UNSUBSCRIBE#4 b")
	s.suback(1, Unchanged, 1)
	s.suback(2, Unchanged, 0x80)
	s.unsuback(4, "")
	s.has("| A")
	s.unsuback(3, "A")
}

func TestLast256UnsubscribedFiltersAreRemembered(t *testing.T) {
	s := newSubscriber(t, nil)
	var list []string
	for i := range 300 {
		list = append(list, fmt.Sprintf("f%d/+:0", i))
	}
	s.granted("A", list[:250]...)
	s.granted("B", list[250:]...)
	equal(t, "before", s.Unsubscribed("f0/x"), false)
	s.Remove("A", true, false)
	equal(t, "the first of 250", s.Unsubscribed("f0/x"), true)
	equal(t, "another topic", s.Unsubscribed("f0"), false)
	equal(t, "a filter of B", s.Unsubscribed("f250/x"), false)
	s.Remove("B", true, false)
	equal(t, "the first of the last 256", s.Unsubscribed("f44/x"), true)
	equal(t, "the one before", s.Unsubscribed("f43/x"), false)
	equal(t, "the last", s.Unsubscribed("f299/x"), true)
	s.adds("C", true, "f299/+:2")
	equal(t, "one that is wanted again", s.Unsubscribed("f299/x"), false)
	equal(t, "the one beside it", s.Unsubscribed("f298/x"), true)
}
