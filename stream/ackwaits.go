package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// A receiver is a flow.Receiver with the topic and the time of each delivery whose ack was not
// sent.
type receiver struct {
	*flow.Receiver
	waits *ackWaits // nil before the first delivery
}

// ackWaits finds the delivery that holds back all later acks, and decides when to warn of it.
//
// Invariant: the arrivals of the deliveries with the numbers from first up to next are in ring,
// each at its number modulo the length of ring.
type ackWaits struct {
	limit       time.Duration // Options.SlowConsumer; 0 is off
	ring        []arrival
	first, next uint64

	number     uint64        // of the delivery that waits first
	wait       time.Duration // the age at which to warn of it
	warned     *inbox        // of the last warning
	quietUntil time.Duration // no other warning about the same inbox comes before
}

// An arrival is a delivery whose ack was not sent.
type arrival struct {
	topic string
	inbox *inbox // nil for the second copy of a QoS 2 message whose first copy is not acknowledged
	at    time.Duration
}

// warnFactor is how much longer a delivery waits for each further warning.
const warnFactor = 10

// add records the delivery with the number seq. Numbers rise.
func (w *ackWaits) add(seq uint64, a arrival) {
	if w.first == w.next {
		w.first, w.next = seq, seq
	}
	for seq+1-w.first > uint64(len(w.ring)) {
		w.grow()
	}
	for ; w.next < seq; w.next++ {
		*w.at(w.next) = arrival{at: a.at}
	}
	*w.at(seq) = a
	w.next++
}

func (w *ackWaits) at(seq uint64) *arrival { return &w.ring[seq&uint64(len(w.ring)-1)] }

func (w *ackWaits) grow() {
	old := w.ring
	w.ring = make([]arrival, max(16, 2*len(old)))
	for seq := w.first; seq != w.next; seq++ {
		*w.at(seq) = old[seq&uint64(len(old)-1)]
	}
}

// oldest returns the delivery that waits first. Its number is from, and later numbers are below to.
func (w *ackWaits) oldest(from, to uint64) (a arrival, ok bool) {
	if w == nil {
		return a, false
	}
	if from == to || w.next <= from {
		w.first, w.next = 0, 0
		return a, false
	}
	w.first = max(w.first, from)
	return *w.at(w.first), true
}

// check reports whether to warn now of the delivery that waits first, which is a with the number
// seq, and returns when to check again.
func (w *ackWaits) check(now time.Duration, seq uint64, a arrival) (warn bool, next time.Duration) {
	if seq != w.number {
		w.number, w.wait = seq, w.limit
	}
	due := a.at + w.wait
	if w.warned != nil && w.warned == a.inbox {
		due = max(due, w.quietUntil)
	}
	if now < due {
		return false, due
	}
	w.wait *= warnFactor
	w.warned, w.quietUntil = a.inbox, now+(warnFactor-1)*w.limit
	return true, a.at + w.wait
}

// shrink frees the memory of an idle session.
func (w *ackWaits) shrink() {
	if w != nil && w.first == w.next {
		w.ring = nil
	}
}

// arrived records the delivery of a message to an inbox.
func (l *loop) arrived(d *Delivery, box *inbox) {
	if d.QoS == frames.AtMostOnce {
		return
	}
	if l.receiver.waits == nil {
		l.receiver.waits = &ackWaits{limit: l.settings.slowConsumer}
	}
	l.receiver.waits.add(d.seq, arrival{topic: d.Topic, inbox: box, at: l.clock.now})
}

// warnOfHeldAcks warns when a delivery has held back the acks of later ones for long. It returns
// the time of the next check, 0 for none.
func (l *loop) warnOfHeldAcks() time.Duration {
	w := l.receiver.waits
	from, to := l.receiver.Waits()
	a, ok := w.oldest(from, to)
	if !ok || w.limit == 0 {
		return 0
	}
	warn, next := w.check(l.clock.now, from, a)
	if warn {
		l.logHeldAcks(from, a)
	}
	return next
}

func (l *loop) logHeldAcks(seq uint64, a arrival) {
	box, unread := l.inboxes.holder(seq)
	if box == nil {
		box = a.inbox
		if sets := l.subs.Lookup(a.topic); (box == nil || box == l.inboxes.unclaimed) && len(sets) > 0 {
			box = sets[0].inbox // has claimed the message since
		}
	}
	text := "a consumer does not acknowledge a message that it has received, which holds back the acks of all later messages"
	switch {
	case box == nil || box == l.inboxes.unclaimed:
		text = "no Subscription claims a message, which holds back the acks of all later messages: subscribe, " +
			"take the messages of the client, or set DiscardUnclaimed"
	case unread > 0:
		text = "nobody receives the messages of a Subscription, which holds back the acks of all later messages: " +
			"receive them, or call Unsubscribe"
	}
	var filters []string
	if box != nil {
		filters = box.filters
	}
	l.log.Warn(text, "filters", filters, "topic", a.topic, "age", l.clock.now-a.at, "unread", unread,
		"unacked", l.receiver.Unacked())
}

// holder returns the inbox in which delivery seq waits, nil if none, and how many messages it has.
func (b *inboxes) holder(seq uint64) (box *inbox, count int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.slots {
		if s := &b.slots[i]; s.inbox != nil && s.delivery.seq == seq {
			return s.inbox, s.inbox.count
		}
	}
	return nil, 0
}
