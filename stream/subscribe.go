package stream

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// subscriptions is the loop's part of subscribing: what is desired, and the
// packets that bring the broker there.
type subscriptions struct {
	routes  routes
	desired []*Subscription // asking and active ones
	leaving []*Subscription
	queue   []*request          // to be sent
	asked   map[uint16]*request // sent, by packet identifier
	sent    uint64              // how many have been

	left  []string            // filters of UNSUBSCRIBE, newest last: what still comes for them is dropped
	noted map[string]struct{} // unclaimed topics that were logged
	fresh []string            // those of them that are to be logged in this turn
}

const (
	requestFilters = 256      // a SUBSCRIBE holds at most so many filters,
	requestBytes   = 16 << 10 // and about so many bytes: brokers limit both
	maxLeft        = 256
	maxNoted       = 1024
)

func (l *loop) subscribe(sub *Subscription) {
	l.subs.desired = append(l.subs.desired, sub)
	for _, f := range sub.filters {
		l.subs.routes.add(f, sub)
		l.subs.left = slices.DeleteFunc(l.subs.left, func(topic string) bool { return topic == f.Topic })
	}
	l.claim(l.s.unclaimed, sub)
	if l.online {
		l.ask(sub)
	}
}

// claim gives sub what waits in another inbox and is for it.
func (l *loop) claim(from *inbox, sub *Subscription) {
	l.s.boxes.move(from, sub.box, func(d *Delivery) bool {
		return slices.Contains(l.subs.routes.lookup(d.Topic), sub)
	})
}

// ask queues the SUBSCRIBE packets of sub, split as brokers take them.
func (l *loop) ask(sub *Subscription) {
	sub.open, sub.refused = 0, nil
	size := 0
	var r *request
	for i, f := range sub.filters {
		f.QoS = l.highest(f)
		if r == nil || len(r.filters) == requestFilters || size+len(f.Topic) > requestBytes {
			r = &request{sub: sub, first: i}
			size = 0
			sub.open++
			l.subs.queue = append(l.subs.queue, r)
		}
		r.filters = append(r.filters, f)
		size += len(f.Topic) + 3
	}
}

// highest is the QoS to ask for: the broker keeps one QoS for a filter, the one
// it was asked for last [MQTT-3.8.4-3], and another Subscription may need more.
func (l *loop) highest(f frames.Filter) frames.QoS {
	q := f.QoS
	for _, o := range l.sharing(f.Topic, nil) {
		q = max(q, o.QoS)
	}
	return q
}

// sharing returns the filters of desired Subscriptions but one that are equal to topic.
func (l *loop) sharing(topic string, but *Subscription) (same []frames.Filter) {
	at := l.subs.routes.find(topic, false)
	if at == nil {
		return nil
	}
	for _, r := range *at {
		if r.filter.Topic == topic && r.sub != but && r.sub.state <= active {
			same = append(same, r.filter)
		}
	}
	return same
}

// restore queues what a new connection needs: everything desired when the
// broker has no session of ours, otherwise only what it has not answered.
func (l *loop) restore(resumed bool) {
	for _, sub := range l.subs.desired {
		if sub.open > 0 || sub.state == asking || !resumed || l.s.options.Version == frames.V31 {
			l.ask(sub)
		}
	}
	for _, sub := range slices.Clone(l.subs.leaving) {
		sub.open = 0
		if resumed {
			l.withdrawFilters(sub, sub)
		}
		if sub.open == 0 {
			l.leave(sub)
		}
	}
}
