package flow

import (
	"slices"
	"strings"

	"github.com/go-millrace/mqtt/frames"
)

// Routes finds the owners of the filters that match a topic (section 4.7). It is a tree of topic
// levels with a table of recent topics in front, so that the cost of a message does not grow with
// the number of filters. The zero value is empty.
type Routes[T comparable] struct {
	root  level[T]
	known map[string][]T // the owners for each recent topic
	last  string         // the topic of the last Lookup, since a stream often repeats its topic
	found []T            // the owners for last
}

// A Route is one filter of an owner.
type Route[T comparable] struct {
	Filter frames.Filter
	Owner  T
}

type level[T comparable] struct {
	next map[string]*level[T]
	here []Route[T] // filters that end at this level
	rest []Route[T] // filters that end with # at this level
}

// Limits of the table of recent topics, which then needs at most five megabytes.
const (
	maxKnown      = 1 << 14 // entries
	maxKnownBytes = 256     // the longest topic that gets an entry
)

// levels splits a filter into its topic levels, without the prefix $share/group/.
func levels(filter string) []string { return strings.Split(frames.Route(filter), "/") }

// Add routes the topics that match f to owner.
func (r *Routes[T]) Add(f frames.Filter, owner T) {
	at := r.find(f.Topic, true)
	*at = append(*at, Route[T]{f, owner})
	r.forgetTopics()
}

// Remove undoes one Add with the same arguments.
func (r *Routes[T]) Remove(f frames.Filter, owner T) {
	if at := r.find(f.Topic, false); at != nil {
		if i := slices.Index(*at, Route[T]{f, owner}); i >= 0 {
			*at = slices.Delete(*at, i, i+1)
		}
	}
	r.forgetTopics()
	r.root.prune(levels(f.Topic))
}

// Equal returns the routes whose filter has exactly this text.
func (r *Routes[T]) Equal(filter string) (equal []Route[T]) {
	at := r.find(filter, false)
	if at == nil {
		return nil
	}
	for _, route := range *at {
		if route.Filter.Topic == filter { // the list also holds filters with another $share/group/
			equal = append(equal, route)
		}
	}
	return equal
}

func (r *Routes[T]) forgetTopics() {
	clear(r.known)
	r.last, r.found = "", nil
}

// find returns the list that holds the routes of filter.
func (r *Routes[T]) find(filter string, create bool) *[]Route[T] {
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
				at.next = make(map[string]*level[T])
			}
			next = new(level[T])
			at.next[name] = next
		}
		at = next
	}
	return &at.here
}

// prune drops the levels of a removed filter that have become empty.
func (l *level[T]) prune(names []string) (empty bool) {
	if len(names) > 0 {
		if next := l.next[names[0]]; next != nil && next.prune(names[1:]) {
			delete(l.next, names[0])
		}
	}
	return len(l.next) == 0 && len(l.here) == 0 && len(l.rest) == 0
}

// Lookup returns the owners whose filters match topic, each once. The slice must not be changed.
func (r *Routes[T]) Lookup(topic string) []T {
	if topic != r.last { // r.last is empty at first; a topic is never empty
		r.last, r.found = topic, r.search(topic)
	}
	return r.found
}

func (r *Routes[T]) search(topic string) []T {
	if found, ok := r.known[topic]; ok {
		return found
	}
	var found []T
	r.root.match(topic, true, topic[0] == '$', &found)
	switch {
	case len(topic) > maxKnownBytes:
		return found
	case r.known == nil:
		r.known = make(map[string][]T)
	case len(r.known) >= maxKnown:
		clear(r.known)
	}
	r.known[topic] = found
	return found
}

// match collects the owners of the filters that match topic from this level on. The parameter more
// reports whether the topic has levels left. At the first level no wildcard matches a topic that
// begins with $ [MQTT-4.7.2-1].
func (l *level[T]) match(topic string, more, dollar bool, found *[]T) {
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

func collect[T comparable](found *[]T, routes []Route[T]) {
	for i := range routes {
		if o := routes[i].Owner; !slices.Contains(*found, o) {
			*found = append(*found, o)
		}
	}
}
