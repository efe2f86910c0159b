package flow

import (
	"strings"
	"testing"
)

// U19: a broker that has kept the session may lack a filter all the same.
func TestNewConnectionAsksForEveryWantedFilter(t *testing.T) {
	for _, c := range []struct {
		name             string
		present, trusted bool
		want             []string
		ended            []string
		leaving          string
	}{
		{"session present", true, false,
			[]string{"SUBSCRIBE#4 a:1", "SUBSCRIBE#5 b:1", "SUBSCRIBE#6 c:1", "UNSUBSCRIBE#7 x"}, nil, "X"},
		{"session present and trusted", true, true,
			[]string{"SUBSCRIBE#4 b:1", "SUBSCRIBE#5 c:1", "UNSUBSCRIBE#6 x"}, nil, "X"},
		{"session gone", false, true,
			[]string{"SUBSCRIBE#4 a:1", "SUBSCRIBE#5 b:1", "SUBSCRIBE#6 c:1"}, []string{"X"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newKeptSubscriber(t)
			s.Connected(false, false)
			s.granted("A", "a:1")
			s.granted("X", "x:0")
			s.adds("B", "b:1")
			s.sends("SUBSCRIBE#3 b:1")
			s.Lost()
			equal(t, "identifiers in use", s.ids.Len(), 0)
			s.adds("C", "c:1")
			s.Remove("X")
			s.ends()
			s.Connected(c.present, c.trusted)
			s.ends(c.ended...)
			s.sends(c.want...)
			equal(t, "leaving", strings.Join(s.Leaving(), " "), c.leaving)
		})
	}
}

// If the connection is lost before SUBACK, even a trusted session does not have the filter.
func TestTrustCountsFromTheLastAnswer(t *testing.T) {
	s := newKeptSubscriber(t)
	s.Connected(false, true)
	s.granted("A", "a:1")
	s.Lost()
	s.Connected(false, true)
	s.sends("SUBSCRIBE#2 a:1")
	s.Lost()
	s.Connected(true, true)
	s.sends("SUBSCRIBE#3 a:1")
	s.suback(3, "", 1)
	s.Lost()
	s.Connected(true, true)
	s.sends()
	s.Lost()
	s.Connected(true, false)
	s.sends("SUBSCRIBE#4 a:1")
}

func TestQueuedSubscribeIsNotSentTwiceAfterALostConnection(t *testing.T) {
	s := newSubscriber(t, nil)
	s.adds("A", "a:1")
	s.Lost()
	s.sends()
	s.Connected(false, false)
	s.sends("SUBSCRIBE#1 a:1")
}

func TestFilterOfTwoOwnersIsAskedForOnceByANewConnection(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:1", "b:0")
	s.granted("B", "b:2", "c:0")
	s.Lost()
	s.Connected(false, false)
	s.sends("SUBSCRIBE#3 a:1 b:2", "SUBSCRIBE#4 c:0")
}

func TestUnsubscribeThatLostItsConnectionIsRepeatedInAKeptSession(t *testing.T) {
	s := newKeptSubscriber(t)
	s.Connected(false, false)
	s.granted("A", "a:1", "b:1", "c:1")
	s.Remove("A")
	s.sends("UNSUBSCRIBE#2 a b c")
	s.adds("B", "a:1") // B wants the filter a by now
	s.Lost()
	s.ends()
	s.sends()
	s.Connected(true, false)
	s.sends("SUBSCRIBE#3 a:1", "UNSUBSCRIBE#4 b c")
	s.unsuback(4)
	s.ends("A")
	s.Lost()
	s.Connected(true, false)
	s.sends("SUBSCRIBE#5 a:1")
}

// The order of a map would differ from connection to connection.
func TestUnsubscribesAreRepeatedInTheirOrder(t *testing.T) {
	s := newKeptSubscriber(t)
	s.Connected(false, false)
	for _, owner := range []string{"9", "1", "8", "2", "7", "3"} {
		s.granted(owner, owner+":0")
	}
	for _, owner := range []string{"3", "9", "2", "1", "7", "8"} {
		s.Remove(owner)
	}
	nextAll(s)
	s.Lost()
	s.Connected(true, false)
	s.sends("UNSUBSCRIBE#13 3", "UNSUBSCRIBE#14 9", "UNSUBSCRIBE#15 2", "UNSUBSCRIBE#16 1", "UNSUBSCRIBE#17 7", "UNSUBSCRIBE#18 8")
}

func TestSessionThatIsNotKeptEndsTheLeavingOwners(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:1")
	s.granted("B", "b:1")
	s.granted("C", "c:1")
	s.adds("D", "d:1")
	s.Remove("B")
	s.Remove("A")
	s.sends("SUBSCRIBE#4 d:1", "UNSUBSCRIBE#5 b", "UNSUBSCRIBE#6 a")
	s.Abandon("D")
	s.Lost()
	s.ends("B", "A")
	s.has("C |")
	s.lookup("a")
	s.sends()
	s.Remove("C")
	s.ends("C")
	s.isEmpty()
}

// Another owner adds the filter while the UNSUBSCRIBE of the first owner waits for a connection.
func TestLeavingOwnerEndsWhenItsFiltersAreWantedAgain(t *testing.T) {
	s := newKeptSubscriber(t)
	s.Connected(false, false)
	s.granted("A", "a:1")
	s.Lost()
	s.Remove("A")
	s.ends()
	s.adds("B", "a:0")
	s.ends("A")
	s.Connected(true, false)
	s.sends("SUBSCRIBE#2 a:0")
}

// A program removes the filter of an earlier release from its kept session.
func TestFilterThatWasNeverAskedForIsUnsubscribedFromAKeptSession(t *testing.T) {
	s := newKeptSubscriber(t)
	s.Add("A", parseFilters("old/#:1"), true)
	s.Remove("A")
	s.ends()
	s.Connected(true, false)
	s.sends("UNSUBSCRIBE#1 old/#")
	s.unsuback(1)
	s.ends("A")
	s.isEmpty()
}

func TestRemoveTakesItsSubscribeOutOfTheQueue(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:1")
	s.Lost()
	s.Connected(false, false)
	s.adds("B", "b:1")
	s.Remove("A") // the broker has no filter of A yet
	s.ends("A")
	s.sends("SUBSCRIBE#2 b:1")
}

func TestSubackOfALeavingOwnerDoesNotCountAsItsUnsuback(t *testing.T) {
	s := newSubscriber(t, nil)
	long := strings.Repeat("a", requestBytes) // a packet of its own
	s.adds("A", long+":1", "b:1")
	s.sends("SUBSCRIBE#1 "+long+":1", "SUBSCRIBE#2 b:1")
	s.Remove("A")
	s.sends("UNSUBSCRIBE#3 "+long, "UNSUBSCRIBE#4 b")
	s.suback(1, "", 1)
	s.suback(2, "", 0x80)
	s.unsuback(4)
	s.ends()
	s.has("| A")
	s.unsuback(3)
	s.ends("A")
	s.isEmpty()
}
