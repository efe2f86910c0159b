package stream

import (
	"fmt"
	"testing"
)

// houses gives n Subscriptions a filter each, and a topic for each of them.
func houses(n int) (r *routes, topics []string) {
	r = new(routes)
	for i := range n {
		routed(r, fmt.Sprintf("mill/house-%d/+", i))
		topics = append(topics, fmt.Sprintf("mill/house-%d/speed", i))
	}
	return r, topics
}

var subscribed = []int{1, 100, 10_000}

// The ways in which a message finds its Subscriptions, from the cheapest on, and
// the allocations of one look-up, at most. The cost must not grow with those that
// the message is not for.
var lookups = []struct {
	name   string
	allocs float64
	next   func(r *routes, topics []string, i int) []*Subscription
}{
	{"the topic of the last", 0, func(r *routes, topics []string, _ int) []*Subscription {
		return r.lookup(topics[0])
	}},
	{"a topic met before", 0, func(r *routes, topics []string, _ int) []*Subscription {
		r.last.topic = ""
		return r.lookup(topics[0])
	}},
	{"a topic not remembered", 1, func(r *routes, topics []string, i int) []*Subscription {
		r.forget()
		return r.lookup(topics[i%len(topics)])
	}},
	{"each topic in turn", 2, func(r *routes, topics []string, i int) []*Subscription {
		return r.lookup(topics[i%len(topics)])
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
				t.Errorf("%s, %d Subscriptions: %v allocations, want at most %v", c.name, n, got, c.allocs)
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
