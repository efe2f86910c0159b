package flow

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// A routedOwner is an owner with its filters.
type routedOwner struct{ filters []frames.Filter }

type ownerRoutes = Routes[*routedOwner]

func routed(r *ownerRoutes, topics ...string) *routedOwner {
	owner := new(routedOwner)
	for _, topic := range topics {
		owner.filters = append(owner.filters, frames.Filter{Topic: topic})
		r.Add(frames.Filter{Topic: topic}, owner)
	}
	return owner
}

func (o *routedOwner) unroute(r *ownerRoutes) {
	for _, f := range o.filters {
		r.Remove(f, o)
	}
}

// isEmpty reports whether the tree has no levels left.
func isEmpty[T comparable](r *Routes[T]) bool {
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
		var r ownerRoutes
		owner := routed(&r, c.filter)
		for _, topic := range c.matches {
			if !slices.Equal(r.Lookup(topic), []*routedOwner{owner}) {
				t.Errorf("filter %q: topic %q is not routed to it", c.filter, topic)
			}
		}
		for _, topic := range c.others {
			if len(r.Lookup(topic)) > 0 {
				t.Errorf("filter %q: topic %q is routed to it", c.filter, topic)
			}
		}
		owner.unroute(&r)
		if !isEmpty(&r) {
			t.Errorf("after the removal of filter %q the tree has levels: %+v", c.filter, r.root)
		}
	}
}

func TestSubscriptionIsFoundOnceHoweverManyOfItsFiltersMatch(t *testing.T) {
	var r ownerRoutes
	owner := routed(&r, "#", "+/b", "a/#", "a/b", "a/b", "$share/g/a/b")
	other := routed(&r, "a/+")
	found := r.Lookup("a/b")
	if len(found) != 2 || !slices.Contains(found, owner) || !slices.Contains(found, other) {
		t.Fatalf("%d owners are found, want 2", len(found))
	}
	r.Remove(frames.Filter{Topic: "a/b"}, owner) // removes one of two equal routes
	owner.filters = slices.Delete(owner.filters, 3, 4)
	if len(r.Lookup("a/b")) != 2 {
		t.Fatal("it is not found any more")
	}
	owner.unroute(&r)
	if !slices.Equal(r.Lookup("a/b"), []*routedOwner{other}) {
		t.Fatal("it is found after its end")
	}
}

func TestLookupKnowsOfEveryChange(t *testing.T) {
	var r ownerRoutes
	if r.Lookup("a/b") != nil {
		t.Fatal("an owner is found among none")
	}
	first := routed(&r, "a/#")
	if !slices.Equal(r.Lookup("a/b"), []*routedOwner{first}) {
		t.Fatal("the table of topics hides a new owner")
	}
	second := routed(&r, "a/+")
	if len(r.Lookup("a/b")) != 2 {
		t.Fatal("the table of topics hides a second owner")
	}
	first.unroute(&r)
	if !slices.Equal(r.Lookup("a/b"), []*routedOwner{second}) {
		t.Fatal("the table of topics keeps an owner that is gone")
	}
}

// The filters $share/g/a and a end at the same level of the tree.
func TestEqualComparesTheWholeTextOfAFilter(t *testing.T) {
	var r Routes[int]
	a := frames.Filter{Topic: "a"}
	more, shared := frames.Filter{Topic: "a", QoS: 2}, frames.Filter{Topic: "$share/g/a"}
	r.Add(a, 1)
	r.Add(more, 2)
	r.Add(shared, 3)
	r.Add(frames.Filter{Topic: "#"}, 4)
	for _, c := range []struct {
		filter string
		want   []Route[int]
	}{
		{"a", []Route[int]{{a, 1}, {more, 2}}},
		{"$share/g/a", []Route[int]{{shared, 3}}},
		{"$share/h/a", nil},
		{"+", nil},
		{"a/b", nil},
	} {
		if got := r.Equal(c.filter); !slices.Equal(got, c.want) {
			t.Errorf("equal to %q: %v, want %v", c.filter, got, c.want)
		}
	}
	r.Remove(a, 2) // a has another QoS than the route of owner 2
	equal(t, "after removing a route that is not there", len(r.Lookup("a")), 4)
}

func TestRememberedTopicsAreBounded(t *testing.T) {
	var r ownerRoutes
	owner := routed(&r, "t/+")
	for i := range 3 * maxKnown {
		if topic := fmt.Sprintf("t/%d", i); !slices.Equal(r.Lookup(topic), []*routedOwner{owner}) {
			t.Fatalf("topic %q is not found", topic)
		}
		if len(r.known) > maxKnown {
			t.Fatalf("%d topics are remembered, want at most %d", len(r.known), maxKnown)
		}
	}
}

func TestALongTopicIsFoundAndNotRemembered(t *testing.T) {
	var r ownerRoutes
	owner := routed(&r, "t/+")
	topic := "t/" + strings.Repeat("x", maxKnownBytes)
	if !slices.Equal(r.Lookup(topic), []*routedOwner{owner}) || len(r.known) > 0 {
		t.Fatalf("%d topics are remembered, or the topic is not found", len(r.known))
	}
}

var levelNames = []string{"", "a", "b", "c", "A", "$SYS", "$"}

// randomTopic returns a valid topic name. The function intn returns a random number below n.
func randomTopic(intn func(n int) int) string {
	for {
		levels := make([]string, 1+intn(4))
		for i := range levels {
			levels[i] = levelNames[intn(len(levelNames))]
		}
		if s := strings.Join(levels, "/"); frames.ValidTopicName(s, frames.V311) == nil {
			return s
		}
	}
}

// randomFilter returns a valid topic filter, often with wildcards.
func randomFilter(intn func(n int) int) string {
	for {
		levels := make([]string, 1+intn(4))
		for i := range levels {
			switch n := intn(10); {
			case n < 3:
				levels[i] = "+"
			case n < 5 && i == len(levels)-1:
				levels[i] = "#"
			default:
				levels[i] = levelNames[intn(len(levelNames))]
			}
		}
		s := strings.Join(levels, "/")
		if intn(6) == 0 {
			s = "$share/g" + string(rune('0'+intn(3))) + "/" + s
		}
		if frames.ValidTopicFilter(s, frames.V311) == nil {
			return s
		}
	}
}

// The result of Lookup is compared with frames.Match for every filter.
func TestTreeAgreesWithMatchOnRandomFilters(t *testing.T) {
	randomly(t, 1, func(t *testing.T, random *rand.Rand) {
		var r ownerRoutes
		var owners []*routedOwner
		for step := range 4000 {
			switch n := random.IntN(10); {
			case n < 2 && len(owners) < 40:
				filters := make([]string, 1+random.IntN(4))
				for i := range filters {
					filters[i] = randomFilter(random.IntN)
				}
				owners = append(owners, routed(&r, filters...))
			case n < 4 && len(owners) > 0:
				i := random.IntN(len(owners))
				owners[i].unroute(&r)
				owners = slices.Delete(owners, i, i+1)
			default:
				topic := randomTopic(random.IntN)
				checkLookup(t, step, topic, r.Lookup(topic), owners)
			}
		}
		for _, owner := range owners {
			owner.unroute(&r)
		}
		if !isEmpty(&r) {
			t.Fatalf("the tree has levels without routes: %+v", r.root)
		}
	})
}

func checkLookup(t *testing.T, step int, topic string, found, owners []*routedOwner) {
	t.Helper()
	for _, o := range owners {
		want := slices.ContainsFunc(o.filters, func(f frames.Filter) bool { return f.Match(topic) })
		if got := slices.Contains(found, o); got != want {
			t.Fatalf("step %d: topic %q and filters %v: %v, want %v", step, topic, o.filters, got, want)
		}
	}
	if n := len(found); n > len(owners) {
		t.Fatalf("step %d: topic %q: %d found of %d", step, topic, n, len(owners))
	}
}
