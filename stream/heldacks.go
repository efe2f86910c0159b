package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// A receiver is a flow.Receiver that also knows the topic, the inbox and the time of each delivery
// whose ack was not sent, so that it can warn of a delivery that holds back acks.
type receiver struct {
	*flow.Receiver
	slowConsumer time.Duration // Options.SlowConsumer
	waits        *ackWaits     // nil before the first delivery
}

// delivered records the delivery of a message to an inbox at the time now.
func (r *receiver) delivered(d *Delivery, box *inbox, now time.Duration) {
	if d.QoS == frames.AtMostOnce {
		return
	}
	if r.waits == nil {
		r.waits = &ackWaits{limit: r.slowConsumer}
	}
	r.waits.add(d.seq, arrival{topic: d.Topic, inbox: box, at: now})
}

// holdsAcks returns the delivery that holds back the acks of all later ones.
func (r *receiver) holdsAcks() (a arrival, seq uint64, ok bool) {
	from, to := r.Waits()
	a, ok = r.waits.oldest(from, to)
	return a, from, ok
}

// warnOfHeldAcks warns when a delivery has held back the acks of later ones for long. It returns
// the time of the next check, 0 for none.
func (r *receiver) warnOfHeldAcks(now time.Duration, log *packetLog, boxes *inboxes, subs *flow.Subscriptions[*filterSet]) time.Duration {
	a, seq, ok := r.holdsAcks()
	if !ok || r.slowConsumer == 0 {
		return 0
	}
	warn, next := r.waits.check(now, seq, a)
	if !warn {
		return next
	}
	box, unread := boxes.holder(seq)
	if box == nil {
		box = a.inbox
		if sets := subs.Lookup(a.topic); (box == nil || box == boxes.unclaimed) && len(sets) > 0 {
			box = sets[0].inbox // has claimed the message since
		}
	}
	if box == boxes.unclaimed {
		box = nil
	}
	var filters []string
	if box != nil {
		filters = box.filters
	}
	log.Warn(heldAcks(box != nil, unread > 0), "filters", filters, "topic", a.topic, "age", now-a.at, "unread", unread,
		"unacked", r.Unacked())
	return next
}

// heldAcks returns the text of a warning.
func heldAcks(claimed, unread bool) string {
	switch {
	case !claimed:
		return "no Subscription claims a message, which holds back the acks of all later messages: subscribe, " +
			"receive from the channels of the client, or set DiscardUnclaimed"
	case unread:
		return "nobody receives the messages of a Subscription, which holds back the acks of all later messages: " +
			"receive them, or call Unsubscribe"
	}
	return "a consumer does not acknowledge a message that it has received, which holds back the acks of all later messages"
}
