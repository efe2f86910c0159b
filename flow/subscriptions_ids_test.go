package flow

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// forIDs checks which owners a message with identifiers is for.
func (s *subscriber) forIDs(topic string, ids []uint32, want ...string) {
	s.Helper()
	if got := s.LookupFor(topic, ids); !slices.Equal(got, want) {
		s.Errorf("topic %s with identifiers %v is for %q, want %q", topic, ids, got, want)
	}
}

// identifier checks the identifier of the next SUBSCRIBE, which it answers with the codes.
func (s *subscriber) identifier(want uint32, codes ...frames.ReasonCode) {
	s.Helper()
	r, ok := s.Next(s.now)
	if !ok || r.Identifier != want {
		s.Fatalf("request %+v, %v, want identifier %d", r, ok, want)
	}
	if codes != nil {
		if _, err := s.Suback(r.ID, codes, ignoreCodes); err != nil {
			s.Fatal(err)
		}
	}
}

const grant0 = frames.Success

// V64: each owner gets the message once, whatever the broker does with identifiers.
func TestOverlappingFiltersGetEachMessageOnce(t *testing.T) {
	s := newSubscriber(t, nil)
	s.adds("A", "a/#:0")
	s.adds("B", "a/+:0")
	s.adds("C", "b:0")
	s.identifier(1, grant0)
	s.identifier(2, grant0)
	s.identifier(3, grant0)
	s.forIDs("a/x", []uint32{1, 2}, "A", "B") // one copy
	s.forIDs("a/x", []uint32{1}, "A")         // two copies
	s.forIDs("a/x", []uint32{2}, "B")
	s.forIDs("a/x", nil, "A", "B") // a retained message
	s.forIDs("a/x/y", []uint32{1}, "A")
	s.forIDs("b", []uint32{1}, "C") // the filter alone decides
	s.forIDs("a/x", []uint32{3, 2}, "A", "B")
	s.forIDs("c", []uint32{1})
}

// V65: the broker has one subscription for a filter, with the identifier of the last SUBSCRIBE.
func TestTheIdentifierOfTheLastSubscribeStandsForAllOwnersOfAFilter(t *testing.T) {
	s := newSubscriber(t, nil)
	s.adds("A", "a/#:0")
	s.identifier(1, grant0)
	s.adds("B", "a/#:1")
	s.adds("C", "#:0")
	s.identifier(2, grant0)
	s.identifier(3, grant0)
	s.forIDs("a/x", []uint32{2}, "A", "B")
	s.forIDs("a/x", []uint32{3}, "C")
	s.forIDs("a/x", []uint32{2, 3}, "C", "A", "B")
	s.Remove("B") // the subscription stays, with its identifier
	s.ends("B")
	s.forIDs("a/x", []uint32{2}, "A")
}

// V64: until the answer to a SUBSCRIBE for a filter that the broker has, messages may have the old
// identifier or the new one.
func TestNoOwnerMissesAMessageWhileItsFilterChangesItsIdentifier(t *testing.T) {
	for _, c := range []struct {
		name       string
		code       frames.ReasonCode
		old, other []string // the owners for the old identifier, and for the new one
	}{
		{"granted", grant0, []string{"C", "A", "B"}, []string{"A", "B"}},
		{"refused", frames.NotAuthorized, []string{"A"}, []string{"C", "A"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSubscriber(t, nil)
			s.adds("A", "a/#:0")
			s.identifier(1, grant0)
			s.adds("C", "#:0")
			s.identifier(2, grant0)
			s.adds("B", "a/#:1")
			s.forIDs("a/x", []uint32{1, 2}, "C", "A", "B")
			s.identifier(3)
			for _, id := range []uint32{1, 3} {
				s.forIDs("a/x", []uint32{id}, "A", "B")
				s.forIDs("a/x", []uint32{id, 2}, "C", "A", "B")
			}
			if _, err := s.Suback(65_533, []frames.ReasonCode{c.code}, ignoreCodes); err != nil {
				t.Fatal(err)
			}
			s.forIDs("a/x", []uint32{1}, c.old...)
			s.forIDs("a/x", []uint32{3}, c.other...)
			s.forIDs("a/x", []uint32{2}, "C")
		})
	}
}

// V31: a filter that is refused here leaves the identifier of the broker's subscription alone.
func TestAFilterThatIsNotAskedForKeepsItsIdentifier(t *testing.T) {
	s := newSubscriber(t, nil)
	s.adds("A", "a/#:0")
	s.adds("C", "#:0")
	s.identifier(1, grant0)
	s.identifier(2, grant0)
	s.Limit(func(frames.Filter, uint32) error { return frames.NotAuthorized }, frames.MaxPacket)
	s.adds("B", "a/#:0")
	r, _ := s.Next(0)
	equal(t, "refused", r.Refused, error(frames.NotAuthorized))
	s.suback(3, "B rejected a/#:0", 0x87)
	s.forIDs("a/x", []uint32{1}, "A")
	s.forIDs("a/x", []uint32{1, 2}, "C", "A")
}

// V66
func TestAMessageWithAnUnknownIdentifierIsForAllOwnersWhoseFiltersMatch(t *testing.T) {
	s := newKeptSubscriber(t)
	s.Identify(100)
	s.adds("A", "a/#:0")
	s.adds("B", "a/+:0")
	s.Connected(true, true)
	s.identifier(101)
	s.forIDs("a/x", []uint32{7}, "A", "B") // of another process
	s.forIDs("a/x", []uint32{101}, "A")
	s.forIDs("a/x", []uint32{101, 7}, "A", "B") // 7 may be for B, which has not asked yet
	s.suback(1, "A granted", 0)
	s.identifier(102, grant0)
	s.adds("C", "a/x:0")
	s.identifier(103, grant0)
	s.Remove("C")
	s.sends("UNSUBSCRIBE#4 a/x")
	s.forIDs("a/x", []uint32{103}, "C")
	s.unsuback(4)
	s.forIDs("a/x", []uint32{103}, "A", "B") // of a Subscription that has ended
}

// V66: messages that waited in the session have the identifier of the connection before.
func TestIdentifiersOutliveTheConnectionWithTheSession(t *testing.T) {
	s := newKeptSubscriber(t)
	s.adds("A", "a/#:0")
	s.adds("B", "a/+:0")
	s.Connected(false, false)
	s.identifier(1, grant0)
	s.identifier(2)
	s.Lost()
	for range 3 { // no answer on any connection
		s.Connected(true, false)
		s.identifier(1)
		s.identifier(2)
		s.Lost()
	}
	equal(t, "identifiers of a filter", len(s.filters["a/#"].ids), 1)
	s.forIDs("a/x", []uint32{1}, "A")
	s.forIDs("a/x", []uint32{2}, "B")
	s.Connected(false, false) // a new session
	s.forIDs("a/x", []uint32{1}, "A", "B")
	s.identifier(1, grant0)
	s.identifier(2, grant0)
	s.forIDs("a/x", []uint32{1}, "A")
}

// V64: a SUBSCRIBE whose answer was lost with its connection may have set its identifier. A refusal
// on the next connection does not end it, since the earlier subscription stays.
func TestARefusalDoesNotEndTheIdentifierOfASubscribeWhoseAnswerWasLost(t *testing.T) {
	s := newKeptSubscriber(t)
	s.Add("A", parseFilters("a/x:0"), true)
	s.Connected(false, false)
	s.identifier(1, grant0)
	s.Add("B", parseFilters("a/x:0", "a/+:0"), true)
	s.identifier(2)
	s.Lost()
	s.Connected(true, false)
	s.identifier(1, frames.NotAuthorized)
	s.identifier(2, grant0)
	s.forIDs("a/x", []uint32{2, 2}, "A", "B")
}

func TestIdentifiersBeginAgainAfterTheLargest(t *testing.T) {
	s := newSubscriber(t, nil)
	s.Identify(maxSubscriptionID - 1)
	s.adds("A", "a:0")
	s.adds("B", "b:0")
	s.identifier(maxSubscriptionID)
	s.identifier(1)
	s.Identify(1<<32 - 1)
	s.adds("C", "c:0")
	r, _ := s.Next(0)
	if r.Identifier == 0 || r.Identifier > maxSubscriptionID {
		t.Errorf("identifier %d", r.Identifier)
	}
}

// V31: identifiers are left out for a broker that does not take them.
func TestIdentifierIsLeftOutUnlessTheBrokerTakesIt(t *testing.T) {
	r := Request{ID: 1, Filters: parseFilters("a:0"), Identifier: 7}
	equal(t, "identified", r.Packet(frames.V5, true).(frames.Subscribe).Identifier, 7)
	equal(t, "not identified", r.Packet(frames.V5, false).(frames.Subscribe).Identifier, 0)
}

// option returns a filter with options, such as "a:1 nolocal rap new" or "a:0 none".
func option(text string) frames.Filter {
	words := strings.Fields(text)
	f := parseFilters(words[0])[0]
	for _, w := range words[1:] {
		switch w {
		case "nolocal":
			f.NoLocal = true
		case "rap":
			f.RetainAsPublished = true
		case "new":
			f.RetainHandling = frames.SendRetainedIfNew
		case "none":
			f.RetainHandling = frames.SendNoRetained
		}
	}
	return f
}

// One SUBSCRIBE serves all owners of a filter, and no owner misses a message for another one.
func TestOptionsOfAllOwnersOfAFilterAreMerged(t *testing.T) {
	for _, c := range []struct{ granted, asks, want string }{
		{"", "a:1 nolocal rap none", "a:1 nolocal rap none"},
		{"a:0 nolocal", "a:1 nolocal", "a:1 nolocal"},
		{"a:2 nolocal", "a:1", "a:2"},
		{"a:0", "a:0 nolocal", "a:0"},
		{"a:0 rap", "a:0", "a:0 rap"},
		{"a:0", "a:0 rap", "a:0 rap"},
		{"a:0", "a:0 none", "a:0 none"}, // the granted owner has its retained messages
		{"a:0 none", "a:0", "a:0"},
		{"a:0 none", "a:0 new", "a:0 new"},
	} {
		t.Run(c.granted+", "+c.asks, func(t *testing.T) {
			s := newSubscriber(t, nil)
			if c.granted != "" {
				s.Add("A", []frames.Filter{option(c.granted)}, false)
				s.Next(0)
				s.suback(1, "A granted", 0)
			}
			s.Add("B", []frames.Filter{option(c.asks)}, false)
			r, _ := s.Next(0)
			equal(t, "filter", r.Filters[0], option(c.want))
		})
	}
}

// V70: after a lost session each owner gets the retained messages that it asks for.
func TestRetainHandlingIsAsAskedAfterTheSessionWasLost(t *testing.T) {
	s := newKeptSubscriber(t)
	s.Add("A", []frames.Filter{option("a:0 new"), option("b:0 none")}, false)
	s.Connected(false, true)
	for _, present := range []bool{false, true, false} {
		r, ok := s.Next(0)
		if want := []frames.Filter{option("a:0 new"), option("b:0 none")}; ok && !slices.Equal(r.Filters, want) {
			t.Errorf("filters %v, want %v", r.Filters, want)
		}
		if ok {
			if _, err := s.Suback(r.ID, []frames.ReasonCode{0, 0}, ignoreCodes); err != nil {
				t.Fatal(err)
			}
		}
		s.Lost()
		s.Connected(present, true)
	}
	s.identifier(1, 0, 0) // the session was lost again
	s.sends()
}

// V31: a filter that the broker does not take is refused without a packet, and the others go out.
func TestFiltersThatTheBrokerDoesNotTakeAreRefusedHere(t *testing.T) {
	s := newSubscriber(t, nil)
	shared, wildcard := frames.SharedSubscriptionsNotSupported, frames.WildcardSubscriptionsNotSupported
	s.Limit(func(f frames.Filter, _ uint32) error {
		switch {
		case strings.HasPrefix(f.Topic, "$share/"):
			return shared
		case strings.HasSuffix(f.Topic, "#"):
			return wildcard
		}
		return nil
	}, frames.MaxPacket)
	s.Add("A", parseFilters("a:0", "b:0", "$share/g/c:1", "$share/g/d:1", "e/#:2", "f:0"), true)
	var got []string
	for r, ok := s.Next(0); ok; r, ok = s.Next(0) {
		codes := make([]frames.ReasonCode, len(r.Filters))
		if code, refused := r.Refused.(frames.ReasonCode); refused {
			codes[0] = code
		}
		got = append(got, formatFilters(r.Filters)+" "+codes[0].Error())
		if _, err := s.Suback(r.ID, codes, ignoreCodes); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"a:0 b:0 " + grant0.Error(), "$share/g/c:1 " + shared.Error(), "$share/g/d:1 " + shared.Error(),
		"e/#:2 " + wildcard.Error(), "f:0 " + grant0.Error(),
	}
	if !slices.Equal(got, want) {
		t.Errorf("packets\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	filters, codes := s.Refused("A")
	equal(t, "refused", formatFilters(filters), "$share/g/c:1 $share/g/d:1 e/#:2")
	if !slices.Equal(codes, []frames.ReasonCode{shared, shared, wildcard}) {
		t.Errorf("codes %v", codes)
	}
	s.Remove("A")
	s.sends("UNSUBSCRIBE#6 a b f")
}

// V28: a SUBSCRIBE is split so that it fits.
func TestASubscribeIsNoLargerThanTheBrokerTakes(t *testing.T) {
	const limit = 60
	s := newSubscriber(t, nil)
	s.Limit(nil, limit)
	s.Identify(maxSubscriptionID - 1)
	var filters []string
	for i := range 20 {
		filters = append(filters, strings.Repeat(string(rune('a'+i)), 1+i*2)+":0")
	}
	s.adds("A", filters...)
	n := 0
	for r, ok := s.Next(0); ok; r, ok = s.Next(0) {
		n += len(r.Filters)
		b, err := r.Packet(frames.V5, true).Append(nil, frames.V5)
		if err != nil || len(b) > limit {
			t.Errorf("%d filters take %d bytes: %v", len(r.Filters), len(b), err)
		}
	}
	equal(t, "filters", n, 20)
}

// V68: each refused filter has its code.
func TestRefusedFiltersHaveTheirCodes(t *testing.T) {
	want := []frames.ReasonCode{0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2, 0xF7}
	var filters []frames.Filter
	for i := range want {
		filters = append(filters, parseFilters(strings.Repeat("x", i+1)+":1")...)
	}
	s := newSubscriber(t, nil)
	s.Add("A", filters, false)
	r, _ := s.Next(0)
	if _, err := s.Suback(r.ID, want[:8], ignoreCodes); err != nil {
		t.Fatal(err)
	}
	r, _ = s.Next(0)
	answers, err := s.Suback(r.ID, want[8:], ignoreCodes)
	if err != nil || len(answers) != 1 {
		t.Fatal(answers, err)
	}
	if !slices.Equal(answers[0].Codes, want) || !slices.Equal(answers[0].Refused, filters) {
		t.Errorf("refused %v with %v", answers[0].Refused, answers[0].Codes)
	}
}

// V69
func TestUnsubackCodesReachTheOwnerThatLeaves(t *testing.T) {
	for _, c := range []struct {
		name  string
		codes []frames.ReasonCode
		want  frames.ReasonCode
		fails bool
	}{
		{"before MQTT 5", nil, 0, false},
		{"success", []frames.ReasonCode{0, 0}, 0, false},
		{"no subscription existed", []frames.ReasonCode{frames.NoSubscriptionExisted, 0}, 0, false},
		{"the highest", []frames.ReasonCode{frames.UnspecifiedError, frames.NotAuthorized}, frames.NotAuthorized, false},
		{"too few", []frames.ReasonCode{0}, 0, true},
		{"none", []frames.ReasonCode{}, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSubscriber(t, nil)
			s.granted("A", "a:0", "b:0")
			s.Remove("A")
			r, _ := s.Next(0)
			if err := s.Unsuback(r.ID, c.codes); (err != nil) != c.fails {
				t.Fatal(err)
			}
			if c.fails {
				s.ends()
				return
			}
			if got := s.Ended(); !slices.Equal(got, []Departed[string]{{"A", c.want}}) {
				t.Errorf("ended %v", got)
			}
			s.isEmpty()
		})
	}
}

// V69: the code of an UNSUBSCRIBE that a later one has superseded is for nobody.
func TestTheLastUnsubackDecides(t *testing.T) {
	s := newSubscriber(t, nil)
	s.granted("A", "a:0")
	s.Remove("A")
	s.sends("UNSUBSCRIBE#2 a")
	s.adds("B", "a:0")
	s.sends("SUBSCRIBE#3 a:0")
	s.suback(3, "B granted", 0)
	s.Remove("B")
	s.sends("UNSUBSCRIBE#4 a")
	if err := s.Unsuback(65_534, []frames.ReasonCode{frames.NotAuthorized}); err != nil {
		t.Fatal(err)
	}
	if err := s.Unsuback(65_532, []frames.ReasonCode{0}); err != nil {
		t.Fatal(err)
	}
	for _, d := range s.Ended() {
		equal(t, "code of "+d.Owner, d.Code, frames.Success)
	}
	s.isEmpty()
}
