package flow

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// A subscriber is a Subscriptions with short methods for tests. Tests write a filter as its topic
// and QoS, such as "a/b:1".
type subscriber struct {
	*testing.T
	*Subscriptions[string]
	ids Identifiers
	now time.Duration
}

// newSubscriber returns a connected subscriber whose session ends with the connection.
func newSubscriber(t *testing.T, retry *Retry) *subscriber {
	s := &subscriber{T: t}
	s.Subscriptions = NewSubscriptions[string](&s.ids, retry, false)
	s.Connected(false, false)
	return s
}

// newKeptSubscriber returns a subscriber without a connection, whose session is kept.
func newKeptSubscriber(t *testing.T) *subscriber {
	s := &subscriber{T: t}
	s.Subscriptions = NewSubscriptions[string](&s.ids, nil, true)
	return s
}

func parseFilters(list ...string) (filters []frames.Filter) {
	for _, f := range list {
		topic, qos, _ := strings.Cut(f, ":")
		filters = append(filters, frames.Filter{Topic: topic, QoS: frames.QoS(qos[0] - '0')})
	}
	return filters
}

func formatFilters(filters []frames.Filter) string {
	list := make([]string, len(filters))
	for i, f := range filters {
		list[i] = fmt.Sprintf("%s:%d", f.Topic, f.QoS)
	}
	return strings.Join(list, " ")
}

// format writes a request as its type, its identifier counted from the high end, and its filters.
func format(r Request) string {
	again := ""
	if r.Again {
		again = " again"
	}
	if r.Topics != nil {
		return fmt.Sprintf("UNSUBSCRIBE#%d%s %s", 65_536-int(r.ID), again, strings.Join(r.Topics, " "))
	}
	return fmt.Sprintf("SUBSCRIBE#%d%s %s", 65_536-int(r.ID), again, formatFilters(r.Filters))
}

// sends checks that want lists the packets that are due. The identifiers count down from 65,535 and
// are written as #1, #2, ...
func (s *subscriber) sends(want ...string) {
	s.Helper()
	var got []string
	for r, ok := s.Next(s.now); ok; r, ok = s.Next(s.now) {
		got = append(got, format(r))
	}
	if !slices.Equal(got, want) {
		s.Fatalf("sent:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (s *subscriber) adds(owner string, filters ...string) {
	s.Add(owner, parseFilters(filters...), false)
}

// granted adds an owner and makes it active.
func (s *subscriber) granted(owner string, filters ...string) {
	s.Helper()
	s.adds(owner, filters...)
	r, _ := s.Next(s.now)
	s.suback(65_536-int(r.ID), owner+" granted", make([]byte, len(r.Filters))...)
}

func ignoreCodes(string, int, frames.ReasonCode) {}

var results = map[Result]string{Granted: "granted", Partly: "partly", Rejected: "rejected", Revoked: "revoked"}

// suback passes codes for the request #number and checks the answers, such as "A rejected a:1".
func (s *subscriber) suback(number int, want string, codes ...byte) {
	s.Helper()
	var list []frames.ReasonCode
	for _, code := range codes {
		list = append(list, frames.ReasonCode(code))
	}
	answers, err := s.Suback(uint16(65_536-number), list, ignoreCodes)
	if err != nil {
		s.Fatal(err)
	}
	var got []string
	for _, a := range answers {
		got = append(got, strings.TrimSpace(a.Owner+" "+results[a.Result]+" "+formatFilters(a.Refused)))
	}
	equal(s.T, "answers", strings.Join(got, ", "), want)
}

func (s *subscriber) unsuback(number int) {
	s.Helper()
	if err := s.Unsuback(uint16(65_536-number), nil); err != nil {
		s.Fatal(err)
	}
}

func (s *subscriber) ends(want ...string) {
	s.Helper()
	var got []string
	for _, d := range s.Ended() {
		got = append(got, d.Owner)
	}
	if !slices.Equal(got, want) {
		s.Fatalf("ended: %q, want %q", got, want)
	}
}

// has checks the wanted owners ("a?" is asking) and, behind a bar, the leaving owners.
func (s *subscriber) has(want string) {
	s.Helper()
	var list []string
	s.EachWanted(func(owner string, asking bool) {
		if asking {
			owner += "?"
		}
		list = append(list, owner)
	})
	equal(s.T, "wanted", s.Wanted(), len(list))
	if got := strings.Join(append(append(list, "|"), s.Leaving()...), " "); got != want {
		s.Fatalf("owners %q, want %q", got, want)
	}
}

func (s *subscriber) lookup(topic string, want ...string) {
	s.Helper()
	if got := s.Lookup(topic); !slices.Equal(got, want) {
		s.Fatalf("topic %q is for %q, want %q", topic, got, want)
	}
}

// isEmpty checks that nothing is left, neither filters nor identifiers.
func (s *subscriber) isEmpty() {
	s.Helper()
	s.has("|")
	if len(s.filters)+len(s.parting)+len(s.requests.queue)+s.ids.Len() > 0 {
		s.Fatalf("left: %d filters, %d to unsubscribe, %d queued, %d identifiers", len(s.filters), len(s.parting), len(s.requests.queue), s.ids.Len())
	}
}

func TestOwnerIsAskingThenActiveThenLeaving(t *testing.T) {
	s := newSubscriber(t, nil)
	s.adds("A", "a:1", "b/+:2")
	s.has("A? |")
	s.sends("SUBSCRIBE#1 a:1 b/+:2")
	s.lookup("b/x", "A")
	s.suback(1, "A granted", 1, 0)
	s.has("A |")
	equal(t, "Abandon of an active owner", s.Abandon("A"), false)
	equal(t, "Remove", s.Remove("A"), true)
	s.has("| A")
	equal(t, "Remove of a leaving owner", s.Remove("A"), true)
	s.sends("UNSUBSCRIBE#2 a b/+")
	s.lookup("b/x", "A") // messages still go to a leaving owner
	s.ends()
	s.unsuback(2)
	s.ends("A")
	s.lookup("b/x")
	equal(t, "Remove of an owner that has ended", s.Remove("A"), false)
	equal(t, "Abandon of an owner that has ended", s.Abandon("A"), false)
	s.isEmpty()
}

func TestCodesAreReportedByFilterOfTheirOwner(t *testing.T) {
	s := newSubscriber(t, nil)
	s.adds("A", "a:1", "b:1", "a:2")
	s.adds("B", "b:0", "c:0")
	s.sends("SUBSCRIBE#1 a:2 b:1", "SUBSCRIBE#2 c:0") // the SUBSCRIBE of A asks for b too
	var got []string
	each := func(owner string, index int, code frames.ReasonCode) {
		got = append(got, fmt.Sprintf("%s[%d]=%d", owner, index, code))
	}
	if _, err := s.Suback(65_535, []frames.ReasonCode{2, 1}, each); err != nil {
		t.Fatal(err)
	}
	if want := []string{"A[0]=2", "A[2]=2", "A[1]=1", "B[0]=1"}; !slices.Equal(got, want) {
		t.Fatalf("codes %q, want %q", got, want)
	}
	s.has("A B? |")
}

func TestHighestQoSOfAllWantedOwnersIsAskedFor(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:0")
	s.granted("B", "a:2", "b:0")
	s.granted("shared", "$share/g/a:2") // a shared filter is a different filter
	s.adds("C", "a:1", "b:1", "c:0")
	s.sends("SUBSCRIBE#4 a:2 b:1 c:0")
	s.suback(4, "C granted", 2, 1, 0)
	s.Remove("B") // other owners have its filters, so it ends at once
	s.ends("B")
	s.adds("D", "a:0", "a:0")
	s.sends("SUBSCRIBE#5 a:1")
	s.granted("E", "e:0", "f:2")
	s.Remove("E")
	s.adds("F", "f:0", "f:1")
	s.has("A shared C D? F? | E") // the filters of a leaving owner do not count
	s.sends("UNSUBSCRIBE#7 e", "SUBSCRIBE#8 f:1")
}

func TestFilterIsUnsubscribedWhenNoOtherWantedOwnerHasIt(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:0", "b:0")
	s.granted("B", "a:1", "c:0")
	s.granted("C", "$share/g/b:0")
	s.Remove("A")
	s.ends()
	s.sends("UNSUBSCRIBE#4 b")
	s.unsuback(4)
	s.ends("A")
	s.granted("D", "c:0")
	s.Remove("D")
	s.ends("D") // B has the filter c, so no UNSUBACK is needed
	s.sends()
	s.adds("E", "a:0") // an asking owner is wanted, too
	s.Remove("B")
	s.sends("SUBSCRIBE#6 a:0", "UNSUBSCRIBE#7 c")
	s.has("C E? | B")
	s.Abandon("E")
	s.sends("UNSUBSCRIBE#8 a")
}

func TestRefusedFiltersAreNotUnsubscribed(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("B", "b:0")
	s.adds("A", "a:0", "b:1", "c:2", "d:0")
	s.sends("SUBSCRIBE#2 a:0 b:1 c:2 d:0")
	s.suback(2, "A rejected c:2 d:0", 0, 1, 0x80, 0x87)
	s.has("B |")
	s.lookup("a")
	s.sends("UNSUBSCRIBE#3 a") // B has b
	s.unsuback(3)
	equal(t, "identifiers in use", s.ids.Len(), 0)
}

func TestFilterThatWasGrantedToAnAbandonedOwnerIsUnsubscribedAfterARefusalToAnother(t *testing.T) {
	s := newSubscriber(t, nil)
	s.adds("A", "a:0")
	s.sends("SUBSCRIBE#1 a:0")
	s.adds("B", "a:1")
	s.sends("SUBSCRIBE#2 a:1")
	s.Abandon("A")
	s.suback(1, "", 0)
	s.suback(2, "B rejected a:1", 0x80)
	s.sends("UNSUBSCRIBE#3 a")
	s.unsuback(3)
	s.isEmpty()
}

func TestActiveOwnerIsRevokedByARefusalOnANewConnection(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:0", "b:0")
	s.granted("B", "c:0")
	s.Lost()
	s.Connected(false, false)
	s.sends("SUBSCRIBE#3 a:0 b:0", "SUBSCRIBE#4 c:0")
	s.suback(3, "A revoked a:0", 0x80, 0)
	s.suback(4, "", 0)
	s.has("B |")
	s.sends("UNSUBSCRIBE#5 b")
}

func TestOwnerOfDeclaredFiltersLivesOnWithoutTheRefusedOnes(t *testing.T) {
	s := newKeptSubscriber(t)
	s.Add("A", parseFilters("a:0", "b:1", "c:0"), true)
	s.Connected(true, false)
	s.sends("SUBSCRIBE#1 a:0 b:1 c:0")
	s.suback(1, "A partly b:1 c:0", 0, 0x80, 0x80)
	s.has("A |")
	s.sends()
	s.Lost()
	s.Connected(true, true) // the refused filters are asked for again
	s.sends("SUBSCRIBE#2 b:1 c:0")
	s.suback(2, "A partly c:0", 1, 0x80)
	s.Lost()
	s.Connected(false, true)
	s.sends("SUBSCRIBE#3 a:0 b:1 c:0")
	s.suback(3, "A granted", 0, 1, 0)
	s.Remove("A")
	s.sends("UNSUBSCRIBE#4 a b c")
	s.unsuback(4)
	s.ends("A")
	s.isEmpty()
}

func TestRefusalsOfALostConnectionDoNotCount(t *testing.T) {
	s := newSubscriber(t, nil)
	long := strings.Repeat("a", requestBytes) // it fills a packet
	s.adds("A", long+":0", "b:0")
	s.sends("SUBSCRIBE#1 "+long+":0", "SUBSCRIBE#2 b:0")
	s.suback(1, "", 0x80)
	s.Lost()
	s.Connected(true, false)
	s.sends("SUBSCRIBE#3 "+long+":0", "SUBSCRIBE#4 b:0")
	s.suback(3, "", 0)
	s.suback(4, "A granted", 0)
}

func TestAbandonedFilterIsTakenBackFromASessionThatEndsWithTheConnection(t *testing.T) {
	for _, c := range []struct {
		name   string
		online bool
		sent   []string // before Abandon
		want   []string
	}{
		{"sent", true, []string{"SUBSCRIBE#1 a:0"}, []string{"UNSUBSCRIBE#2 a"}},
		{"queued", true, nil, nil},
		{"offline", false, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSubscriber(t, nil)
			if !c.online {
				s.Lost()
			}
			s.adds("A", "a:0")
			if c.sent != nil {
				s.sends(c.sent...)
			}
			equal(t, "ended", s.Abandon("A"), true)
			s.has("|")
			s.lookup("a")
			s.sends(c.want...)
			equal(t, "messages are unwanted", s.Unsubscribed("a"), c.want != nil)
			if c.sent != nil { // the broker answers the SUBSCRIBE in any case
				s.suback(1, "", 0)
				s.unsuback(2)
			}
			equal(t, "messages are unwanted", s.Unsubscribed("a"), false)
			s.isEmpty()
		})
	}
}

// U16: the broker may have had the filter before this client, and may hold messages for it.
func TestAbandonedFilterStaysInAKeptSession(t *testing.T) {
	t.Run("given up", func(t *testing.T) {
		s := newKeptSubscriber(t)
		s.Connected(true, false)
		s.adds("A", "a:1")
		s.sends("SUBSCRIBE#1 a:1")
		s.Abandon("A")
		s.sends()
		equal(t, "messages are unwanted", s.Unsubscribed("a"), false)
		s.suback(1, "", 1)
		s.sends()
		s.isEmpty()
	})
	t.Run("another filter was refused", func(t *testing.T) {
		s := newKeptSubscriber(t)
		s.Connected(false, false)
		s.adds("A", "a:1", "b:1")
		s.sends("SUBSCRIBE#1 a:1 b:1")
		s.suback(1, "A rejected b:1", 1, 0x80)
		s.sends()
		equal(t, "messages are unwanted", s.Unsubscribed("a"), false)
		s.isEmpty()
	})
	t.Run("after its owner was removed", func(t *testing.T) {
		s := newKeptSubscriber(t)
		s.Connected(false, false)
		s.granted("A", "a:1")
		s.adds("B", "a:1")
		s.Remove("A")
		s.ends("A")
		s.Abandon("B") // the filter is not as A has found it, but as A has left it
		s.sends("UNSUBSCRIBE#2 a")
	})
}

// U17: requests are the difference between the wanted filters and those of the broker.
func TestAbandonedOwnersLeaveNoRequestsBehind(t *testing.T) {
	for _, kept := range []bool{false, true} {
		s := &subscriber{T: t}
		s.Subscriptions = NewSubscriptions[string](&s.ids, nil, kept)
		for i := range 20_000 {
			s.adds("A", "plant/+/temperature:1", fmt.Sprint(i, ":1"))
			s.Abandon("A")
		}
		s.isEmpty()
		s.adds("A", "plant/+/temperature:1")
		s.Connected(kept, false)
		s.sends("SUBSCRIBE#1 plant/+/temperature:1")
	}
}

func TestRemovedOwnerOfAKeptSessionLeavesOneRequestForEachFilter(t *testing.T) {
	s := newKeptSubscriber(t)
	s.Connected(false, false)
	s.granted("A", "a:1", "b:1")
	s.Lost()
	s.Remove("A")
	for i := range 100 {
		s.adds(fmt.Sprint(i), "a:1", "b:1")
		s.Remove(fmt.Sprint(i))
	}
	s.adds("B", "b:0")
	s.Connected(true, false)
	s.sends("SUBSCRIBE#2 b:0", "UNSUBSCRIBE#3 a")
}

// U18: only late messages of that very filter are unwanted, and only until UNSUBACK.
func TestMessagesAreUnwantedUntilTheUnsuback(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a/+:1", "$share/g/b:0")
	equal(t, "before", s.Unsubscribed("a/x"), false)
	s.Remove("A")
	equal(t, "a/x", s.Unsubscribed("a/x"), true)
	equal(t, "b", s.Unsubscribed("b"), true)
	equal(t, "another topic", s.Unsubscribed("c"), false)
	s.sends("UNSUBSCRIBE#2 a/+ $share/g/b")
	equal(t, "a/x", s.Unsubscribed("a/x"), true)
	s.adds("B", "a/+:1")
	equal(t, "wanted again", s.Unsubscribed("a/x"), false)
	s.unsuback(2)
	equal(t, "b after UNSUBACK", s.Unsubscribed("b"), false)
	s.sends("SUBSCRIBE#3 a/+:1")
}
