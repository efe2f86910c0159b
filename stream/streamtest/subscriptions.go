package streamtest

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// subscriptions are the filters that a client of a Responder has subscribed to, with the granted
// QoS. No two of them have the same filter.
type subscriptions []subscription

type subscription struct {
	frames.Filter
	identifier uint32 // 0 is none
}

// add replaces a subscription with the same filter [MQTT-3.8.4-3].
func (s *subscriptions) add(f frames.Filter, identifier uint32) {
	s.remove(f.Topic)
	*s = append(*s, subscription{f, identifier})
}

// remove reports whether there was a subscription with the filter.
func (s *subscriptions) remove(filter string) bool {
	was := len(*s)
	*s = slices.DeleteFunc(*s, func(x subscription) bool { return x.Topic == filter })
	return len(*s) < was
}

// A match says whether a client gets a message, and how.
type match struct {
	wanted      bool
	qos         frames.QoS // the highest granted QoS of the matching subscriptions [MQTT-3.3.5-1]
	retain      bool       // RETAIN is as the publisher has set it
	identifiers []uint32   // those of the matching subscriptions
}

// match returns how the client gets a message with a topic. The parameter own is true if the client
// has published the message.
func (s subscriptions) match(topic string, own bool) match {
	var m match
	for i := range s {
		if s[i].NoLocal && own || !s[i].Match(topic) {
			continue // MQTT 5, section 3.8.3.1
		}
		m.wanted, m.qos, m.retain = true, max(m.qos, s[i].QoS), m.retain || s[i].RetainAsPublished
		if s[i].identifier != 0 {
			m.identifiers = append(m.identifiers, s[i].identifier)
		}
	}
	return m
}
