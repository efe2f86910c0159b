package stream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// routed is a Subscription with its filters, as the loop has it.
func routed(r *routes, topics ...string) *Subscription {
	sub := new(Subscription)
	for _, topic := range topics {
		sub.filters = append(sub.filters, frames.Filter{Topic: topic})
		r.add(frames.Filter{Topic: topic}, sub)
	}
	return sub
}

func (sub *Subscription) unroute(r *routes) {
	for _, f := range sub.filters {
		r.remove(f, sub)
	}
}

func (r *routes) empty() bool {
	return len(r.root.next) == 0 && len(r.root.here) == 0 && len(r.root.rest) == 0
}

func TestTopicsFindTheirFilters(t *testing.T) {
	for _, c := range []struct {
		filter  string
		matches []string
		others  []string
	}{
		{"a", []string{"a"}, []string{"A", "a/", "/a", "a/b", "b"}},
		{"a/b", []string{"a/b"}, []string{"a", "a/b/", "a//b", "a/ b"}},
		{"#", []string{"a", "/", "a/b/c", "a$/b"}, []string{"$SYS", "$SYS/a", "$"}},
		{"+", []string{"a", " "}, []string{"a/b", "/", "/a", "$SYS"}},
		{"+/+", []string{"a/b", "/", "/a", "a/"}, []string{"a", "a/b/c", "$SYS/a"}},
		{"/+", []string{"/", "/a"}, []string{"a", "a/b"}},
		{"+/a/#", []string{"x/a", "/a", "x/a/", "x/a/b/c"}, []string{"a", "$x/a", "x/b/a"}},
		{"a/#", []string{"a", "a/", "a/b", "a//b/$x"}, []string{"b", "A/b", "/a"}},
		{"a/+/c", []string{"a/b/c", "a//c"}, []string{"a/b", "a/b/c/d", "a/b/C"}},
		{"a//b", []string{"a//b"}, []string{"a/b", "a/x/b"}},
		{"/", []string{"/"}, []string{"", "//", "a/"}[1:]},
		{"$SYS/#", []string{"$SYS", "$SYS/a", "$SYS/a/b"}, []string{"$sys/a", "SYS/a", "a"}},
		{"$SYS/+", []string{"$SYS/a", "$SYS/$a"}, []string{"$SYS", "$SYS/a/b"}},
		{"$share/g/a/+", []string{"a/b"}, []string{"$share/g/a/b", "a", "g/a/b"}},
		{"$share/g/#", []string{"a", "a/b"}, []string{"$SYS/a", "$share/g/a"}},
		{"$share/g//a", []string{"/a"}, []string{"a"}},
		{"$share/g/$SYS/#", []string{"$SYS/a"}, []string{"a"}},
	} {
		var r routes
		sub := routed(&r, c.filter)
		for _, topic := range c.matches {
			if !slices.Equal(r.lookup(topic), []*Subscription{sub}) {
				t.Errorf("filter %q: topic %q is not routed to it", c.filter, topic)
			}
		}
		for _, topic := range c.others {
			if len(r.lookup(topic)) > 0 {
				t.Errorf("filter %q: topic %q is routed to it", c.filter, topic)
			}
		}
		sub.unroute(&r)
		if !r.empty() {
			t.Errorf("filter %q leaves something behind: %+v", c.filter, r.root)
		}
	}
}

func TestSubscriptionIsFoundOnceHoweverManyOfItsFiltersMatch(t *testing.T) {
	var r routes
	sub := routed(&r, "#", "+/b", "a/#", "a/b", "a/b", "$share/g/a/b")
	other := routed(&r, "a/+")
	if found := r.lookup("a/b"); len(found) != 2 || !slices.Contains(found, sub) || !slices.Contains(found, other) {
		t.Fatalf("%d Subscriptions are found, want 2", len(found))
	}
	r.remove(frames.Filter{Topic: "a/b"}, sub) // one of the two that are equal
	sub.filters = slices.Delete(sub.filters, 3, 4)
	if len(r.lookup("a/b")) != 2 {
		t.Fatal("it is not found any more")
	}
	sub.unroute(&r)
	if !slices.Equal(r.lookup("a/b"), []*Subscription{other}) {
		t.Fatal("it is found after its end")
	}
}

func TestLookupKnowsOfEveryChange(t *testing.T) {
	var r routes
	if r.lookup("a/b") != nil {
		t.Fatal("found something among nothing")
	}
	first := routed(&r, "a/#")
	if !slices.Equal(r.lookup("a/b"), []*Subscription{first}) {
		t.Fatal("what is remembered hides a new Subscription")
	}
	second := routed(&r, "a/+")
	if len(r.lookup("a/b")) != 2 {
		t.Fatal("what is remembered hides a second Subscription")
	}
	first.unroute(&r)
	if !slices.Equal(r.lookup("a/b"), []*Subscription{second}) {
		t.Fatal("what is remembered keeps a Subscription that is gone")
	}
}

func TestRememberedTopicsAreBounded(t *testing.T) {
	var r routes
	sub := routed(&r, "t/+")
	for i := range 3 * maxKnown {
		if topic := fmt.Sprintf("t/%d", i); !slices.Equal(r.lookup(topic), []*Subscription{sub}) {
			t.Fatalf("topic %q is not found", topic)
		}
		if len(r.known) > maxKnown {
			t.Fatalf("%d topics are remembered, want at most %d", len(r.known), maxKnown)
		}
	}
}

func TestALongTopicIsFoundAndNotRemembered(t *testing.T) {
	var r routes
	sub := routed(&r, "t/+")
	topic := "t/" + strings.Repeat("x", maxKnownBytes)
	if !slices.Equal(r.lookup(topic), []*Subscription{sub}) || len(r.known) > 0 {
		t.Fatalf("%d topics are remembered, or the topic is not found", len(r.known))
	}
}

// The tree against frames.Match, one filter after the other.
func TestTreeAgreesWithMatchOnRandomFilters(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	names := []string{"", "a", "b", "c", "A", "$SYS", "$"}
	topic := func() string {
		for {
			levels := make([]string, 1+random.IntN(4))
			for i := range levels {
				levels[i] = names[random.IntN(len(names))]
			}
			if s := strings.Join(levels, "/"); frames.ValidTopicName(s, frames.V311) == nil {
				return s
			}
		}
	}
	filter := func() string {
		for {
			levels := make([]string, 1+random.IntN(4))
			for i := range levels {
				switch n := random.IntN(10); {
				case n < 3:
					levels[i] = "+"
				case n < 5 && i == len(levels)-1:
					levels[i] = "#"
				default:
					levels[i] = names[random.IntN(len(names))]
				}
			}
			s := strings.Join(levels, "/")
			if random.IntN(6) == 0 {
				s = "$share/g" + string(rune('0'+random.IntN(3))) + "/" + s
			}
			if frames.ValidTopicFilter(s, frames.V311) == nil {
				return s
			}
		}
	}

	var r routes
	var subs []*Subscription
	for step := range 4000 {
		switch n := random.IntN(10); {
		case n < 2 && len(subs) < 40:
			filters := make([]string, 1+random.IntN(4))
			for i := range filters {
				filters[i] = filter()
			}
			subs = append(subs, routed(&r, filters...))
		case n < 4 && len(subs) > 0:
			i := random.IntN(len(subs))
			subs[i].unroute(&r)
			subs = slices.Delete(subs, i, i+1)
		default:
			topic := topic()
			found := r.lookup(topic)
			for _, sub := range subs {
				want := slices.ContainsFunc(sub.filters, func(f frames.Filter) bool { return f.Match(topic) })
				if got := slices.Contains(found, sub); got != want {
					t.Fatalf("step %d: topic %q and filters %v: %v, want %v", step, topic, sub.filters, got, want)
				}
			}
			if n := len(found); n > len(subs) {
				t.Fatalf("step %d: topic %q: %d found of %d", step, topic, n, len(subs))
			}
		}
	}
	for _, sub := range subs {
		sub.unroute(&r)
	}
	if !r.empty() {
		t.Fatalf("removing all leaves something behind: %+v", r.root)
	}
}
