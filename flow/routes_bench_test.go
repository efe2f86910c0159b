package flow

import (
	"fmt"
	"testing"
)

// houses returns routes for n owners with one filter each, and a topic for each owner.
func houses(n int) (r *ownerRoutes, topics []string) {
	r = new(ownerRoutes)
	for i := range n {
		routed(r, fmt.Sprintf("mill/house-%d/+", i))
		topics = append(topics, fmt.Sprintf("mill/house-%d/speed", i))
	}
	return r, topics
}

var subscribed = []int{1, 100, 10_000}

// The ways in which a message finds its owners, cheapest first, and the limit of allocations for
// one look-up. The cost must not grow with the number of owners that do not match.
var lookups = []struct {
	name   string
	allocs float64
	next   func(r *ownerRoutes, topics []string, i int) []*routedOwner
}{
	{"the topic of the last", 0, func(r *ownerRoutes, topics []string, _ int) []*routedOwner {
		return r.Lookup(topics[0])
	}},
	{"a topic met before", 0, func(r *ownerRoutes, topics []string, _ int) []*routedOwner {
		r.last = ""
		return r.Lookup(topics[0])
	}},
	{"a topic not remembered", 1, func(r *ownerRoutes, topics []string, i int) []*routedOwner {
		r.forgetTopics()
		return r.Lookup(topics[i%len(topics)])
	}},
	{"each topic in turn", 2, func(r *ownerRoutes, topics []string, i int) []*routedOwner {
		return r.Lookup(topics[i%len(topics)])
	}},
}

func TestRoutingAllocatesOnlyForATopicNotRemembered(t *testing.T) {
	for _, c := range lookups {
		for _, n := range subscribed {
			r, topics := houses(n)
			i := 0
			got := testing.AllocsPerRun(1000, func() {
				if len(c.next(r, topics, i)) != 1 {
					t.Fatal("not found, or more than once")
				}
				i++
			})
			if got > c.allocs {
				t.Errorf("%s, %d owners: %v allocations, want at most %v", c.name, n, got, c.allocs)
			}
		}
	}
}

func BenchmarkRoutes(b *testing.B) {
	for _, c := range lookups {
		for _, n := range subscribed {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				r, topics := houses(n)
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					if len(c.next(r, topics, i)) != 1 {
						b.Fatal("not found, or more than once")
					}
					i++
				}
			})
		}
	}
}
