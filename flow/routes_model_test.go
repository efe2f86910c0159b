package flow

import (
	"slices"
	"testing"

	"github.com/go-millrace/mqtt/frames"
	"pgregory.net/rapid"
)

// routesModel is a plain list of routes. A topic is matched against each of them.
type routesModel []Route[int]

// owners returns the owners whose filters match topic, each once, in ascending order.
func (m routesModel) owners(topic string) (owners []int) {
	for _, route := range m {
		if frames.Match(route.Filter.Topic, topic) {
			owners = append(owners, route.Owner)
		}
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

func (m routesModel) equal(filter string) (routes []Route[int]) {
	for _, route := range m {
		if route.Filter.Topic == filter {
			routes = append(routes, route)
		}
	}
	return routes
}

// checkRoutes looks up a topic from a short list, which the table of recent topics often has, and a
// random topic.
func checkRoutes(t *rapid.T, r *Routes[int], m routesModel, intn func(int) int) {
	for _, topic := range []string{pickTopic(intn), randomTopic(intn)} {
		got := slices.Clone(r.Lookup(topic))
		if slices.Sort(got); !slices.Equal(got, m.owners(topic)) {
			t.Fatalf("topic %q is routed to %v, want %v", topic, got, m.owners(topic))
		}
	}
	filter := randomFilter(intn)
	if len(m) > 0 && intn(2) == 0 {
		filter = m[intn(len(m))].Filter.Topic
	}
	if got, want := r.Equal(filter), m.equal(filter); !slices.Equal(got, want) {
		t.Fatalf("routes equal to %q: %v, want %v", filter, got, want)
	}
}

func pickTopic(intn func(int) int) string {
	topics := []string{"a", "a/b", "/a", "$SYS/a", "a/b/c"}
	return topics[intn(len(topics))]
}

func TestRoutesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Routes[int]
		var m routesModel
		intn := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "number") }
		add := func(*rapid.T) {
			route := Route[int]{frames.Filter{Topic: randomFilter(intn), QoS: frames.QoS(intn(3))}, intn(5)}
			if len(m) > 0 && intn(4) == 0 {
				route = m[intn(len(m))]
			}
			r.Add(route.Filter, route.Owner)
			m = append(m, route)
		}
		t.Repeat(map[string]func(*rapid.T){
			"":          func(t *rapid.T) { checkRoutes(t, &r, m, intn) },
			"add":       add,
			"add again": add,
			"remove": func(t *rapid.T) {
				if len(m) == 0 {
					t.Skip()
				}
				route := m[intn(len(m))]
				r.Remove(route.Filter, route.Owner)
				i := slices.Index(m, route) // the first of the equal routes
				m = slices.Delete(m, i, i+1)
			},
			"remove a stranger": func(*rapid.T) {
				r.Remove(frames.Filter{Topic: randomFilter(intn)}, 5)
			},
		})
		for _, route := range m {
			r.Remove(route.Filter, route.Owner)
		}
		if !isEmpty(&r) {
			t.Fatalf("the tree has levels without routes: %+v", r.root)
		}
	})
}
