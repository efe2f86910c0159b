package flow

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// nFilters returns n filters with QoS 1, each size bytes long.
func nFilters(n, size int) []frames.Filter {
	filters := make([]frames.Filter, n)
	for i := range filters {
		filters[i] = frames.Filter{Topic: fmt.Sprintf("%0*d", size, i), QoS: 1}
	}
	return filters
}

// nextAll returns all packets that are due.
func nextAll(s *subscriber) (list []Request) {
	for r, ok := s.Next(s.now); ok; r, ok = s.Next(s.now) {
		list = append(list, r)
	}
	return list
}

// U38: AWS IoT Core closes the connection at a SUBSCRIBE with more than eight filters. Each filter
// takes the bytes of its text and 3 more in a SUBSCRIBE, or 2 more in an UNSUBSCRIBE. For the last
// filter of a packet only the text counts.
func TestPacketsAreSplitAtEightFiltersAnd16KiB(t *testing.T) {
	for _, c := range []struct {
		name        string
		n, size     int
		subscribe   []int // filters in each packet
		unsubscribe []int
	}{
		{"one", 1, 5, []int{1}, []int{1}},
		{"8", 8, 5, []int{8}, []int{8}},
		{"9", 9, 5, []int{8, 1}, []int{8, 1}},
		{"20", 20, 5, []int{8, 8, 4}, []int{8, 8, 4}},
		{"16 KiB - 1 as SUBSCRIBE", 2, 8190, []int{2}, []int{2}},
		{"16 KiB as UNSUBSCRIBE", 2, 8191, []int{1, 1}, []int{2}},
		{"16 KiB + 2", 2, 8192, []int{1, 1}, []int{1, 1}},
		{"one filter above all limits", 3, 60_000, []int{1, 1, 1}, []int{1, 1, 1}},
		{"10 of 5,000 bytes", 10, 5000, []int{3, 3, 3, 1}, []int{3, 3, 3, 1}},
	} {
		s := newSubscriber(t, nil)
		filters := nFilters(c.n, c.size)
		s.Add("A", filters, false)
		var sizes []int
		first := 0
		for _, r := range nextAll(s) {
			n := len(r.Filters)
			if first+n > len(filters) || !slices.Equal(r.Filters, filters[first:first+n]) {
				t.Fatalf("%s: the filters of packet %d are not in order", c.name, len(sizes))
			}
			index := first
			answers, err := s.Suback(r.ID, make([]frames.ReasonCode, n), func(_ string, i int, _ frames.ReasonCode) {
				equal(t, c.name+": index of the filter", i, index)
				index++
			})
			if last := first+n == c.n; err != nil || index != first+n || (len(answers) == 1) != last {
				t.Fatalf("%s: answers %+v, %v", c.name, answers, err)
			}
			sizes, first = append(sizes, n), first+n
		}
		if !slices.Equal(sizes, c.subscribe) {
			t.Errorf("%s: SUBSCRIBE packets of %v filters, want %v", c.name, sizes, c.subscribe)
		}
		checkUnsubscribes(t, s, c.name, filters, c.unsubscribe)
	}
}

func checkUnsubscribes(t *testing.T, s *subscriber, name string, filters []frames.Filter, want []int) {
	t.Helper()
	s.Remove("A")
	var sizes []int
	var topics []string
	list := nextAll(s)
	equal(t, name+": under way", s.UnderWay(), len(list))
	for i, r := range list {
		sizes, topics = append(sizes, len(r.Topics)), append(topics, r.Topics...)
		err := s.Unsuback(r.ID, nil)
		if ended, last := len(s.Ended()) == 1, i == len(list)-1; err != nil || ended != last {
			t.Fatalf("%s: ended after packet %d of %d: %v, %v", name, i, len(list), ended, err)
		}
	}
	same := func(topic string, f frames.Filter) bool { return topic == f.Topic }
	if !slices.Equal(sizes, want) || !slices.EqualFunc(topics, filters, same) {
		t.Errorf("%s: UNSUBSCRIBE packets of %v filters, want %v", name, sizes, want)
	}
	s.isEmpty()
}

func TestRefusalInASplitSubscribeNamesItsFilter(t *testing.T) {
	s := newSubscriber(t, nil)
	s.adds("A", "1:0", "2:0", "3:0", "4:0", "5:0", "6:0", "7:0", "8:0", "9:0", "10:0")
	s.sends("SUBSCRIBE#1 1:0 2:0 3:0 4:0 5:0 6:0 7:0 8:0", "SUBSCRIBE#2 9:0 10:0")
	s.suback(2, "", 0, 0x87)
	s.suback(1, "A rejected 7:0 10:0", 0, 0, 0, 0, 0, 0, 0x80, 0)
	s.sends("UNSUBSCRIBE#3 1 2 3 4 5 6 8 9")
}

// U15: a broker that answers no SUBSCRIBE does not use up the identifiers.
func TestAtMost64RequestsAreUnanswered(t *testing.T) {
	s := newSubscriber(t, nil)
	for i := range 1000 {
		s.adds(fmt.Sprint(i), fmt.Sprint(i, ":0"))
		nextAll(s)
		if i%3 == 0 {
			s.Abandon(fmt.Sprint(i))
		}
	}
	equal(t, "under way", s.UnderWay(), 64)
	equal(t, "identifiers in use", s.ids.Len(), 64)
	s.suback(3, "1 granted", 0)
	equal(t, "sent", len(nextAll(s)), 1)
	equal(t, "under way", s.UnderWay(), 64)
	s.Lost()
	equal(t, "identifiers in use", s.ids.Len(), 0)
}

// U15: a request lapses when a later PINGREQ has its PINGRESP.
func TestRequestLapsesWhenTheBrokerAnswersOnlyPings(t *testing.T) {
	const limit = 20 * time.Second
	s := newSubscriber(t, nil)
	s.granted("gone", "gone:0")
	lapse := func(at time.Duration, want string, wantPing bool, wantNext time.Duration) {
		t.Helper()
		s.now = at
		ended, ping, next := s.Lapse(s.now, limit)
		var got []string
		for _, e := range ended {
			got = append(got, e.Owner+" "+e.Type.String())
		}
		if strings.Join(got, ", ") != want || ping != wantPing || next != wantNext {
			t.Fatalf("at %v: %q, ping %v, next %v; want %q, %v, %v", at, got, ping, next, want, wantPing, wantNext)
		}
	}
	lapse(0, "", false, 0)
	s.Pinged()
	s.now = time.Second
	s.adds("A", "a:0", "b:0")
	s.Add("declared", parseFilters("c:0"), true)
	s.Remove("gone")
	s.sends("SUBSCRIBE#2 a:0 b:0", "SUBSCRIBE#3 c:0", "UNSUBSCRIBE#4 gone")
	s.Ponged() // the answer to the PINGREQ before
	lapse(time.Second, "", false, 21*time.Second)
	lapse(21*time.Second, "", true, 0)
	s.Pinged()
	lapse(22*time.Second, "", false, 0) // a frozen broker is a matter of keep alive
	s.Ponged()
	equal(t, "under way", s.UnderWay(), 3)
	lapse(23*time.Second, "A SUBSCRIBE, gone UNSUBSCRIBE", false, 0)
	s.ends()
	s.has("declared? |")
	equal(t, "under way", s.UnderWay(), 0)
	equal(t, "identifiers in use", s.ids.Len(), 3) // until the connection ends
	s.sends("UNSUBSCRIBE#5 a b")
	lapse(24*time.Second, "", false, 25*time.Second+18*time.Second)

	s.adds("B", "a:0") // the next Subscribe asks again
	s.sends("SUBSCRIBE#6 a:0")
	s.suback(2, "", 0, 0) // late answers are harmless
	s.suback(3, "declared granted", 0)
	s.unsuback(4)
	s.suback(6, "B granted", 0)
	s.unsuback(5)
	s.has("declared B |")
	equal(t, "identifiers in use", s.ids.Len(), 0)
}

func TestOwnerTellsHowLongItAwaitsItsAnswer(t *testing.T) {
	s := newSubscriber(t, nil)
	awaits := func(owner string, want time.Duration, wantOK bool) {
		t.Helper()
		if at, ok := s.Awaits(owner); at != want || ok != wantOK {
			t.Fatalf("%s awaits an answer since %v, %v; want %v, %v", owner, at, ok, want, wantOK)
		}
	}
	s.now = time.Second
	s.adds("A", "a:0", "b:0")
	awaits("A", 0, false)
	s.sends("SUBSCRIBE#1 a:0 b:0")
	awaits("A", time.Second, true)
	awaits("B", 0, false)
	s.suback(1, "A rejected b:0", 0, 0x80)
	awaits("A", 0, false)
	s.sends("UNSUBSCRIBE#2 a")
	s.granted("C", "c:0")
	awaits("C", 0, false)
	s.Remove("C")
	s.now = 2 * time.Second
	s.sends("UNSUBSCRIBE#4 c")
	awaits("C", 2*time.Second, true)
}

func TestAnswersThatDoNotFitAreViolations(t *testing.T) {
	start := func() *subscriber {
		s := newSubscriber(t, nil)
		s.granted("A", "a:1")
		s.Remove("A")
		s.adds("B", "b:1", "c:1")
		s.sends("UNSUBSCRIBE#2 a", "SUBSCRIBE#3 b:1 c:1")
		return s
	}
	suback := func(id uint16, codes int) func(s *subscriber) error {
		return func(s *subscriber) error {
			_, err := s.Suback(id, make([]frames.ReasonCode, codes), ignoreCodes)
			return err
		}
	}
	unsuback := func(id uint16) func(s *subscriber) error {
		return func(s *subscriber) error { return s.Unsuback(id, nil) }
	}
	for _, c := range []struct {
		name   string
		answer func(s *subscriber) error
		kind   frames.Type
		want   string
	}{
		{"SUBACK of an unknown identifier", suback(5, 1), frames.TypeSuback, "identifier 5, which no SUBSCRIBE has"},
		{"SUBACK that came before", suback(65_535, 1), frames.TypeSuback, "identifier 65535,"},
		{"SUBACK for UNSUBSCRIBE", suback(65_534, 1), frames.TypeSuback, "which no SUBSCRIBE has"},
		{"SUBACK with a code too few", suback(65_533, 1), frames.TypeSuback, "1 return codes for 2 filters"},
		{"SUBACK with a code too many", suback(65_533, 3), frames.TypeSuback, "3 return codes for 2 filters"},
		{"UNSUBACK of an unknown identifier", unsuback(5), frames.TypeUnsuback, "identifier 5, which no UNSUBSCRIBE has"},
		{"UNSUBACK for SUBSCRIBE", unsuback(65_533), frames.TypeUnsuback, "which no UNSUBSCRIBE has"},
	} {
		s := start()
		err := c.answer(s)
		var violation *frames.ProtocolError
		if !errors.As(err, &violation) || violation.Type != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		equal(t, c.name+": under way", s.UnderWay(), 2)
		s.suback(3, "B granted", 1, 1)
		s.unsuback(2)
		s.ends("A")
	}
}

func TestRequestsWaitForAFreeIdentifier(t *testing.T) {
	s := newSubscriber(t, nil)
	for range 65_535 {
		s.ids.Acquire(1)
	}
	s.adds("A", "a:1")
	s.adds("B", "b:1")
	s.sends()
	equal(t, "under way", s.UnderWay(), 0)
	s.ids.Release(65_530)
	s.sends("SUBSCRIBE#6 a:1")
	s.suback(6, "A granted", 1)
	s.sends("SUBSCRIBE#6 b:1")
}

// overdue checks which packets are sent again at the time now.
func (s *subscriber) overdue(now, wantNext time.Duration, want ...string) {
	s.Helper()
	var got []string
	next, ok := s.Overdue(now, func(r Request) { got = append(got, format(r)) })
	if !slices.Equal(got, want) || next != wantNext || ok != (wantNext != 0) {
		s.Fatalf("at %v: %q, next %v, %v; want %q, next %v", now, got, next, ok, want, wantNext)
	}
}

func TestOverduePacketsAreSentAgainInTheOrderOfTheFirstTime(t *testing.T) {
	s := newSubscriber(t, &Retry{Initial: 4 * time.Second, Max: 1024 * time.Second})
	s.overdue(0, 0)
	var all, again []string
	s.granted("old", "old:0")
	for i := range 20 { // so many that a map would return them out of order
		s.adds(fmt.Sprint(i), fmt.Sprintf("f%d:1", i))
		all = append(all, fmt.Sprintf("SUBSCRIBE#%d f%d:1", i+2, i))
		again = append(again, fmt.Sprintf("SUBSCRIBE#%d again f%d:1", i+2, i))
	}
	s.sends(all...)
	s.now = time.Second
	s.Remove("old")
	s.sends("UNSUBSCRIBE#22 old")
	s.overdue(4*time.Second-1, 4*time.Second)
	s.overdue(4*time.Second, 5*time.Second, again...)                                       // then 8 s
	s.overdue(5*time.Second, 12*time.Second, "UNSUBSCRIBE#22 again old")                    // then 8 s
	s.overdue(13*time.Second, 29*time.Second, append(again, "UNSUBSCRIBE#22 again old")...) // then 16 s
	for i := range 20 {
		s.suback(i+2, fmt.Sprint(i, " granted"), 1)
	}
	s.overdue(29*time.Second, 61*time.Second, "UNSUBSCRIBE#22 again old")
	s.unsuback(22)
	s.ends("old")
	s.overdue(time.Hour, 0)
}

// A SUBSCRIBE that is sent again after a newer request for its filter would undo that request.
func TestRequestThatALaterOneHasSupersededIsNotSentAgain(t *testing.T) {
	s := newSubscriber(t, &Retry{Initial: time.Second, Max: 1024 * time.Second})
	s.adds("A", "a:1")
	s.sends("SUBSCRIBE#1 a:1")
	s.adds("B", "a:2")
	s.sends("SUBSCRIBE#2 a:2")
	s.overdue(time.Second, 3*time.Second, "SUBSCRIBE#2 again a:2")
	s.suback(2, "B granted", 2)
	s.Remove("B")
	s.Abandon("A")
	s.sends("UNSUBSCRIBE#3 a")
	s.unsuback(3)
	s.overdue(time.Hour, 0)
	s.suback(1, "", 1) // does not bring the filter back
	s.sends()
	s.isEmpty()
}

func TestSecondAnswerToARequestThatWasSentAgainIsHarmless(t *testing.T) {
	s := newSubscriber(t, &Retry{Initial: time.Second, Max: 1024 * time.Second})
	s.adds("A", "a:1")
	s.sends("SUBSCRIBE#1 a:1")
	s.overdue(time.Second, 3*time.Second, "SUBSCRIBE#1 again a:1")
	s.suback(1, "A granted", 1)
	s.suback(1, "", 1)
	s.Remove("A")
	s.sends("UNSUBSCRIBE#2 a")
	s.overdue(time.Second, 3*time.Second, "UNSUBSCRIBE#2 again a")
	s.unsuback(2)
	s.ends("A")
	s.unsuback(2)
	s.ends()
	s.isEmpty()
}

func TestRetryStartsOverOnANewConnection(t *testing.T) {
	s := newSubscriber(t, &Retry{Initial: time.Second, Max: 1024 * time.Second})
	s.adds("A", "a:1")
	s.sends("SUBSCRIBE#1 a:1")
	for range 3 {
		s.now, _ = s.Overdue(s.now, func(Request) {})
	}
	s.Lost()
	s.overdue(time.Hour, 0)
	s.Connected(true, false)
	s.sends("SUBSCRIBE#2 a:1")
	s.overdue(s.now, s.now+time.Second)
}

func TestOnlyMQTT31HasADUPFlagForARequest(t *testing.T) {
	filters := parseFilters("a:1")
	for _, again := range []bool{false, true} {
		for _, v := range []frames.Version{frames.V31, frames.V311} {
			dup := again && v == frames.V31
			r := Request{ID: 7, Again: again, Filters: filters}
			s, ok := r.Packet(v, false).(frames.Subscribe)
			if !ok || s.ID != 7 || s.DUP != dup || !slices.Equal(s.Filters, filters) {
				t.Errorf("%v, again %v: %+v", v, again, s)
			}
			r = Request{ID: 7, Again: again, Topics: []string{"a"}}
			u, ok := r.Packet(v, false).(frames.Unsubscribe)
			if !ok || u.ID != 7 || u.DUP != dup || !slices.Equal(u.Topics, []string{"a"}) {
				t.Errorf("%v, again %v: %+v", v, again, u)
			}
		}
	}
}
