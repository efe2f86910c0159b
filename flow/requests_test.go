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

// Each filter takes the bytes of its text and 3 more in a SUBSCRIBE, or 2 more in an UNSUBSCRIBE.
// For the last filter of a packet only the text counts.
func TestPacketsAreSplitAt256FiltersAnd16KiB(t *testing.T) {
	for _, c := range []struct {
		name        string
		n, size     int
		subscribe   []int // filters in each packet
		unsubscribe []int
	}{
		{"one", 1, 5, []int{1}, []int{1}},
		{"256", 256, 5, []int{256}, []int{256}},
		{"257", 257, 5, []int{256, 1}, []int{256, 1}},
		{"1,000", 1000, 5, []int{256, 256, 256, 232}, []int{256, 256, 256, 232}},
		{"16 KiB - 1 as SUBSCRIBE", 2, 8190, []int{2}, []int{2}},
		{"16 KiB as UNSUBSCRIBE", 2, 8191, []int{1, 1}, []int{2}},
		{"16 KiB + 2", 2, 8192, []int{1, 1}, []int{1, 1}},
		{"one filter above all limits", 3, 60_000, []int{1, 1, 1}, []int{1, 1, 1}},
		{"60 of 1,000 bytes", 60, 1000, []int{16, 16, 16, 12}, []int{16, 16, 16, 12}},
	} {
		s := newSubscriber(t, nil)
		filters := nFilters(c.n, c.size)
		s.Add("A", filters, true)
		var sizes []int
		first := 0
		for _, r := range nextAll(s) {
			n := len(r.Filters)
			if first+n > len(filters) || !slices.Equal(r.Filters, filters[first:first+n]) {
				t.Fatalf("%s: the filters of packet %d are not in order", c.name, len(sizes))
			}
			a, err := s.Suback(r.ID, make([]frames.ReasonCode, n))
			if last := first+n == c.n; err != nil || a.First != first || (a.Result == Granted) != last {
				t.Fatalf("%s: answer %+v, %v", c.name, a, err)
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
	s.Remove("A", true, false)
	var sizes []int
	var topics []string
	list := nextAll(s)
	equal(t, name+": under way", s.UnderWay(), len(list))
	for i, r := range list {
		sizes, topics = append(sizes, len(r.Topics)), append(topics, r.Topics...)
		_, ended, err := s.Unsuback(r.ID)
		if last := i == len(list)-1; err != nil || ended != last {
			t.Fatalf("%s: ended after packet %d of %d: %v, %v", name, i, len(list), ended, err)
		}
	}
	same := func(topic string, f frames.Filter) bool { return topic == f.Topic }
	if !slices.Equal(sizes, want) || !slices.EqualFunc(topics, filters, same) {
		t.Errorf("%s: UNSUBSCRIBE packets of %v filters, want %v", name, sizes, want)
	}
}

func TestRefusalInASplitSubscribeNamesItsFilter(t *testing.T) {
	s := newSubscriber(t, nil)
	filters := nFilters(258, 5)
	s.Add("A", filters, true)
	list := nextAll(s)
	codes := make([]frames.ReasonCode, 256)
	codes[7] = frames.UnspecifiedError
	if a, err := s.Suback(list[0].ID, codes); err != nil || a.Result != Unchanged {
		t.Fatalf("%+v, %v", a, err)
	}
	last := []frames.ReasonCode{0, frames.NotAuthorized}
	a, err := s.Suback(list[1].ID, last)
	if err != nil || a.Result != Rejected || a.First != 256 || !slices.Equal(a.Codes, last) {
		t.Fatalf("%+v, %v", a, err)
	}
	if want := []frames.Filter{filters[7], filters[257]}; !slices.Equal(a.Refused, want) {
		t.Fatalf("refused: %v, want %v", a.Refused, want)
	}
	granted := 0
	for _, r := range nextAll(s) {
		granted += len(r.Topics)
	}
	equal(t, "unsubscribed", granted, 256)
}

func TestAnswersThatDoNotFitAreViolations(t *testing.T) {
	start := func() *subscriber {
		s := newSubscriber(t, nil)
		s.granted("A", "a:1")
		s.Remove("A", true, true)
		s.adds("B", true, "b:1", "c:1")
		s.sends("UNSUBSCRIBE#2 a", "SUBSCRIBE#3 b:1 c:1")
		return s
	}
	suback := func(id uint16, codes int) func(s *subscriber) error {
		return func(s *subscriber) error {
			_, err := s.Suback(id, make([]frames.ReasonCode, codes))
			return err
		}
	}
	unsuback := func(id uint16) func(s *subscriber) error {
		return func(s *subscriber) error {
			_, _, err := s.Unsuback(id)
			return err
		}
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
		s.suback(3, Granted, 1, 1)
		s.unsuback(2, "A")
	}
}

func TestRequestsWaitForAFreeIdentifier(t *testing.T) {
	s := newSubscriber(t, nil)
	for range 65_535 {
		s.ids.Acquire(1)
	}
	s.adds("A", true, "a:1")
	s.adds("B", true, "b:1")
	s.sends()
	equal(t, "under way", s.UnderWay(), 0)
	s.ids.Release(65_530)
	s.sends("SUBSCRIBE#6 a:1")
	s.suback(6, Granted, 1)
	s.sends("SUBSCRIBE#6 b:1")
}

func TestOverduePacketsAreSentAgainInTheOrderOfTheFirstTime(t *testing.T) {
	s := newSubscriber(t, &Retry{Initial: 4 * time.Second, Max: 1024 * time.Second})
	overdue := func(now time.Duration, wantNext time.Duration, want ...string) {
		t.Helper()
		var got []string
		next, ok := s.Overdue(now, func(r Request) { got = append(got, format(r)) })
		if !slices.Equal(got, want) || next != wantNext || ok != (wantNext != 0) {
			t.Fatalf("at %v: %q, next %v, %v; want %q, next %v", now, got, next, ok, want, wantNext)
		}
	}
	overdue(0, 0)
	var all, again []string
	for i := range 20 { // so many that a map would return them out of order
		s.adds(fmt.Sprint(i), true, fmt.Sprintf("f%d:1", i))
		all = append(all, fmt.Sprintf("SUBSCRIBE#%d f%d:1", i+1, i))
		again = append(again, fmt.Sprintf("SUBSCRIBE#%d again f%d:1", i+1, i))
	}
	s.sends(all...)
	s.now = time.Second
	s.Remove("0", true, true)
	s.sends("UNSUBSCRIBE#21 f0")
	overdue(4*time.Second-1, 4*time.Second)
	overdue(4*time.Second, 5*time.Second, again...)                                      // then 8 s
	overdue(5*time.Second, 12*time.Second, "UNSUBSCRIBE#21 again f0")                    // then 8 s
	overdue(13*time.Second, 29*time.Second, append(again, "UNSUBSCRIBE#21 again f0")...) // then 16 s
	for i := range 20 {
		want := Granted
		if i == 0 {
			want = Unchanged // the owner is leaving
		}
		s.suback(i+1, want, 1)
	}
	overdue(29*time.Second, 61*time.Second, "UNSUBSCRIBE#21 again f0")
	s.unsuback(21, "0")
	overdue(time.Hour, 0)
}

func TestRetryStartsOverOnANewConnection(t *testing.T) {
	s := newSubscriber(t, &Retry{Initial: time.Second, Max: 1024 * time.Second})
	s.adds("A", true, "a:1")
	s.sends("SUBSCRIBE#1 a:1")
	for range 3 {
		s.now, _ = s.Overdue(s.now, func(Request) {})
	}
	s.Lost(true)
	if next, ok := s.Overdue(time.Hour, func(r Request) { t.Error(format(r)) }); ok {
		t.Errorf("overdue at %v", next)
	}
	s.Restore(true, false)
	s.sends("SUBSCRIBE#2 a:1")
	next, _ := s.Overdue(s.now, func(r Request) { t.Error(format(r)) })
	equal(t, "overdue", next, s.now+time.Second)
}

func TestOnlyMQTT31HasADUPFlagForARequest(t *testing.T) {
	filters := parseFilters("a:1")
	for _, again := range []bool{false, true} {
		for _, v := range []frames.Version{frames.V31, frames.V311} {
			dup := again && v == frames.V31
			r := Request{ID: 7, Again: again, Filters: filters}
			s, ok := r.Packet(v).(frames.Subscribe)
			if !ok || s.ID != 7 || s.DUP != dup || !slices.Equal(s.Filters, filters) {
				t.Errorf("%v, again %v: %+v", v, again, s)
			}
			r = Request{ID: 7, Again: again, Topics: []string{"a"}}
			u, ok := r.Packet(v).(frames.Unsubscribe)
			if !ok || u.ID != 7 || u.DUP != dup || !slices.Equal(u.Topics, []string{"a"}) {
				t.Errorf("%v, again %v: %+v", v, again, u)
			}
		}
	}
}
