package stream

import (
	"slices"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// SubscriptionInfo describes a Subscription at one moment: its filters, and the messages that wait
// for its consumers.
type SubscriptionInfo struct {
	Filters       []frames.Filter
	Granted       []frames.QoS    // by the broker, one for each filter; 0 for a filter that is refused or not answered yet
	Refused       []frames.Filter // by the broker in its last answers
	Asking        bool            // the broker has not answered every filter yet
	Leaving       bool            // Unsubscribe or Drain waits for the broker's UNSUBACK
	Inbox         int             // messages received and not yet handed over; without Latest
	InboxBytes    int             // their bytes, counted as for ReceiveBytes
	Unacked       int             // QoS 1 and 2 deliveries of this connection that no consumer has acknowledged, Inbox included
	OldestUnacked time.Duration   // the age of the oldest of them
}

// Subscriptions describes the Subscriptions of the session. First come the Subscriptions that are
// granted or asked for, in the order in which they were made. Then come the Subscriptions that wait
// for their UNSUBACK. The cost grows with Stats.Unacked. After the end of the session it returns
// nil.
func (s *Session) Subscriptions() (infos []SubscriptionInfo) {
	s.call(func(l *loop) { infos = subscriptionInfos(l.clock.now, l.subs, l.inboxes, &l.receiver) })
	return infos
}

// subscriptionInfos describes the Subscriptions of subs at the time now.
func subscriptionInfos(now time.Duration, subs *flow.Subscriptions[*filterSet], boxes *inboxes, r *receiver) []SubscriptionInfo {
	infos := make([]SubscriptionInfo, 0, subs.Wanted())
	byInbox := make(map[*inbox]int, subs.Wanted())
	add := func(set *filterSet) *SubscriptionInfo {
		byInbox[set.inbox] = len(infos)
		infos = append(infos, SubscriptionInfo{
			Filters: slices.Clone(set.filters), Granted: set.Granted(), Refused: set.Refused(),
		})
		info := &infos[len(infos)-1]
		info.Inbox, info.InboxBytes = set.inbox.waiting()
		return info
	}
	subs.EachWanted(func(set *filterSet, asking bool) { add(set).Asking = asking })
	for _, set := range subs.Leaving() {
		add(set).Leaving = true
	}
	r.eachUnacked(func(a arrival) {
		box := a.inbox
		if box == boxes.unclaimed {
			if sets := subs.Lookup(a.topic); len(sets) > 0 {
				box = sets[0].inbox // has claimed the message since
			}
		}
		if i, ok := byInbox[box]; ok {
			infos[i].Unacked++
			infos[i].OldestUnacked = max(infos[i].OldestUnacked, now-a.at)
		}
	})
	return infos
}

// eachUnacked visits the deliveries of this connection that their consumer has not acknowledged.
func (r *receiver) eachUnacked(visit func(arrival)) {
	if r.waits == nil {
		return
	}
	from, to := r.Waits()
	for seq := max(from, r.waits.first); seq < min(to, r.waits.next); seq++ {
		if r.Pending(seq) {
			visit(*r.waits.at(seq))
		}
	}
}

// waiting returns how many messages wait here, and their bytes.
func (b *inbox) waiting() (count, bytes int) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	return b.count, b.used.total()
}
