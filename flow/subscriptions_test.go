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

func newSubscriber(t *testing.T, retry *Retry) *subscriber {
	s := &subscriber{T: t}
	s.Subscriptions = NewSubscriptions[string](&s.ids, retry)
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

func (s *subscriber) adds(owner string, online bool, filters ...string) {
	s.Add(owner, parseFilters(filters...), online)
}

// granted adds an owner and makes it active.
func (s *subscriber) granted(owner string, filters ...string) {
	s.Helper()
	s.adds(owner, true, filters...)
	r, _ := s.Next(s.now)
	s.suback(65_536-int(r.ID), Granted, make([]byte, len(filters))...)
}

func (s *subscriber) suback(id int, want Result, codes ...byte) Answer[string] {
	s.Helper()
	list := make([]frames.ReasonCode, len(codes))
	for i, code := range codes {
		list[i] = frames.ReasonCode(code)
	}
	a, err := s.Suback(uint16(65_536-id), list)
	if err != nil || a.Result != want {
		s.Fatalf("SUBACK #%d: result %d, %v, want %d", id, a.Result, err, want)
	}
	return a
}

// unsuback passes on an UNSUBACK and checks which owner ends; "" means no owner.
func (s *subscriber) unsuback(id int, want string) {
	s.Helper()
	owner, ended, err := s.Unsuback(uint16(65_536 - id))
	if err != nil || ended != (want != "") || ended && owner != want {
		s.Fatalf("UNSUBACK #%d: %q ended %v, %v, want %q", id, owner, ended, err, want)
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

func TestOwnerIsAskingThenActiveThenLeaving(t *testing.T) {
	s := newSubscriber(t, nil)
	s.adds("A", true, "a:1", "b/+:2")
	s.has("A? |")
	s.sends("SUBSCRIBE#1 a:1 b/+:2")
	s.lookup("b/x", "A")
	a := s.suback(1, Granted, 1, 0)
	equal(t, "owner of the answer", a.Owner, "A")
	s.has("A |")
	equal(t, "Abandon of an active owner", s.Abandon("A", true), false)
	equal(t, "Remove before UNSUBACK", s.Remove("A", true, false), false)
	s.has("| A")
	equal(t, "Remove of a leaving owner", s.Remove("A", true, false), false)
	s.sends("UNSUBSCRIBE#2 a b/+")
	s.lookup("b/x", "A") // messages still go to a leaving owner
	s.unsuback(2, "A")
	s.has("|")
	s.lookup("b/x")
	equal(t, "Remove of an owner that has ended", s.Remove("A", true, false), true)
	equal(t, "Abandon of an owner that has ended", s.Abandon("A", true), false)
	equal(t, "identifiers in use", s.ids.Len(), 0)
}

func TestAddWithoutConnectionWaitsForRestore(t *testing.T) {
	s := newSubscriber(t, nil)
	s.adds("A", false, "a:1")
	s.adds("B", false, "b:0")
	s.sends()
	s.has("A? B? |")
	equal(t, "owners that end", len(s.Restore(true, false)), 0)
	s.sends("SUBSCRIBE#1 a:1", "SUBSCRIBE#2 b:0")
}

func TestHighestQoSOfAllWantedOwnersIsAskedFor(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:0")
	s.granted("B", "a:2", "b:0")
	s.granted("shared", "$share/g/a:2") // a shared filter is a different filter
	s.adds("C", true, "a:1", "b:1", "c:0")
	s.sends("SUBSCRIBE#4 a:2 b:1 c:0")
	s.suback(4, Granted, 2, 1, 0)
	s.Remove("B", true, false) // other owners have its filters, so it ends at once
	s.has("A shared C |")
	s.adds("D", true, "a:0", "a:0")
	s.sends("SUBSCRIBE#5 a:1 a:1")
	s.granted("E", "e:0", "f:2")
	s.Remove("E", true, false)
	s.adds("F", true, "f:0", "f:1")
	s.has("A shared C D? F? | E") // the filters of a leaving owner do not count
	s.sends("UNSUBSCRIBE#7 e f", "SUBSCRIBE#8 f:1 f:1")
}

func TestFilterIsUnsubscribedWhenNoOtherWantedOwnerHasIt(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:0", "b:0")
	s.granted("B", "a:1", "c:0")
	s.granted("C", "$share/g/b:0")
	equal(t, "A has ended", s.Remove("A", true, false), false)
	s.sends("UNSUBSCRIBE#4 b")
	s.unsuback(4, "A")
	s.granted("D", "c:0")
	equal(t, "D has ended", s.Remove("D", true, false), true) // B has the filter c, so no UNSUBACK is needed
	s.sends()
	s.adds("E", true, "a:0") // an asking owner is wanted, too
	s.Remove("B", true, false)
	s.sends("SUBSCRIBE#6 a:1", "UNSUBSCRIBE#7 c")
	s.has("C E? | B")
	s.Abandon("E", true) // B is leaving, so its filter a is not kept
	s.sends("UNSUBSCRIBE#8 a")
}

func TestRefusedFiltersAreNotUnsubscribed(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("B", "b:0")
	s.adds("A", true, "a:0", "b:1", "c:2", "d:0")
	s.sends("SUBSCRIBE#2 a:0 b:1 c:2 d:0")
	a := s.suback(2, Rejected, 0, 1, 0x80, 0x87)
	equal(t, "refused", formatFilters(a.Refused), "c:2 d:0")
	s.has("B |")
	s.lookup("a")
	s.sends("UNSUBSCRIBE#3 a") // B has b
	s.unsuback(3, "")
	equal(t, "identifiers in use", s.ids.Len(), 0)
}

func TestActiveOwnerIsRevokedByARefusalOnANewConnection(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:0", "b:0")
	s.granted("B", "c:0")
	s.Lost(true)
	s.Restore(false, true)
	s.sends("SUBSCRIBE#3 a:0 b:0", "SUBSCRIBE#4 c:0")
	a := s.suback(3, Revoked, 0x80, 0)
	equal(t, "refused", formatFilters(a.Refused), "a:0")
	s.suback(4, Unchanged, 0)
	s.has("B |")
	s.sends("UNSUBSCRIBE#5 b")
}

func TestRefusalsOfALostConnectionDoNotCount(t *testing.T) {
	s := newSubscriber(t, nil)
	long := strings.Repeat("a", requestBytes) // it fills a packet
	s.adds("A", true, long+":0", "b:0")
	s.sends("SUBSCRIBE#1 "+long+":0", "SUBSCRIBE#2 b:0")
	s.suback(1, Unchanged, 0x80)
	s.Lost(true)
	s.Restore(true, false)
	s.sends("SUBSCRIBE#3 "+long+":0", "SUBSCRIBE#4 b:0")
	s.suback(3, Unchanged, 0)
	s.suback(4, Granted, 0)
}

func TestAbandonEndsAnAskingOwner(t *testing.T) {
	for _, c := range []struct {
		name             string
		online, withdraw bool
		sent             []string // before Abandon
		want             []string
	}{
		{"sent", true, true, []string{"SUBSCRIBE#1 a:0"}, []string{"UNSUBSCRIBE#2 a"}},
		{"queued", true, true, nil, []string{"UNSUBSCRIBE#1 a"}},
		{"sent, without withdraw", true, false, []string{"SUBSCRIBE#1 a:0"}, nil},
		{"queued, without withdraw", true, false, nil, nil},
		{"offline", false, false, nil, nil},
		{"offline, with a session kept", false, true, nil, []string{"UNSUBSCRIBE#1 a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSubscriber(t, nil)
			s.adds("A", c.online, "a:0")
			if c.sent != nil {
				s.sends(c.sent...)
			}
			equal(t, "ended", s.Abandon("A", c.withdraw), true)
			s.has("|")
			s.lookup("a")
			s.sends(c.want...)
			if c.sent != nil { // the broker answers the SUBSCRIBE in any case
				s.suback(1, Unchanged, 0)
			}
			equal(t, "requests", s.UnderWay(), len(c.want))
		})
	}
}
