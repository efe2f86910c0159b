package stream

import (
	"slices"
	"strings"

	"github.com/go-millrace/mqtt/frames"
)

// routes finds the Subscriptions whose filters match a topic: a tree of topic
// levels, and in front of it a table of the topics met last, so that the cost
// of a message does not grow with the number of subscriptions.
type routes struct {
	root  level
	known map[string][]*Subscription
	last  struct { // most streams repeat their topic: one comparison, of pointers mostly
		topic string
		found []*Subscription
	}
}

type level struct {
	next map[string]*level
	here []route // filters that end at this level
	rest []route // filters that end with # at this level
}

// route is one filter of a Subscription.
type route struct {
	filter frames.Filter
	sub    *Subscription
}

// Bounds of the table of topics: five megabytes, whatever a broker sends.
const (
	maxKnown      = 1 << 14 // entries
	maxKnownBytes = 256     // bytes of a topic worth an entry
)

// levels splits what a filter matches by: $share/group/ does not take part.
func levels(filter string) []string { return strings.Split(frames.Route(filter), "/") }

func (r *routes) add(f frames.Filter, s *Subscription) {
	at := r.find(f.Topic, true)
	*at = append(*at, route{f, s})
	r.forget()
}

func (r *routes) remove(f frames.Filter, s *Subscription) {
	if at := r.find(f.Topic, false); at != nil {
		if i := slices.Index(*at, route{f, s}); i >= 0 {
			*at = slices.Delete(*at, i, i+1)
		}
	}
	r.forget()
	r.root.prune(levels(f.Topic))
}

// forget empties what is in front of the tree.
func (r *routes) forget() {
	clear(r.known)
	r.last.topic, r.last.found = "", nil
}

// find returns the list that filter is in.
func (r *routes) find(filter string, create bool) *[]route {
	at := &r.root
	for _, name := range levels(filter) {
		if name == "#" {
			return &at.rest
		}
		next := at.next[name]
		if next == nil {
			if !create {
				return nil
			}
			if at.next == nil {
				at.next = make(map[string]*level)
			}
			next = new(level)
			at.next[name] = next
		}
		at = next
	}
	return &at.here
}

// prune drops the levels of a removed filter that lead nowhere any more.
func (l *level) prune(names []string) (empty bool) {
	if len(names) > 0 {
		if next := l.next[names[0]]; next != nil && next.prune(names[1:]) {
			delete(l.next, names[0])
		}
	}
	return len(l.next) == 0 && len(l.here) == 0 && len(l.rest) == 0
}

// lookup returns the Subscriptions that topic goes to, each once.
func (r *routes) lookup(topic string) []*Subscription {
	if topic != r.last.topic { // or "", which is no topic
		r.last.topic, r.last.found = topic, r.search(topic)
	}
	return r.last.found
}

func (r *routes) search(topic string) []*Subscription {
	if found, ok := r.known[topic]; ok {
		return found
	}
	var found []*Subscription
	r.root.match(topic, true, topic[0] == '$', &found)
	switch {
	case len(topic) > maxKnownBytes:
		return found
	case r.known == nil:
		r.known = make(map[string][]*Subscription)
	case len(r.known) >= maxKnown:
		clear(r.known)
	}
	r.known[topic] = found
	return found
}

// match collects what topic, from this level on, leads to; more says that there
// is something left of it. At the first level a topic that begins with $ is
// matched by no wildcard [MQTT-4.7.2-1].
func (l *level) match(topic string, more, dollar bool, found *[]*Subscription) {
	if !dollar {
		collect(found, l.rest)
	}
	if !more {
		collect(found, l.here)
		return
	}
	name, topic, more := strings.Cut(topic, "/")
	if next := l.next[name]; next != nil {
		next.match(topic, more, false, found)
	}
	if next := l.next["+"]; next != nil && !dollar {
		next.match(topic, more, false, found)
	}
}

func collect(found *[]*Subscription, more []route) {
	for i := range more {
		if s := more[i].sub; !slices.Contains(*found, s) {
			*found = append(*found, s)
		}
	}
}
