package stream

import "github.com/go-millrace/mqtt/flow"

// The methods here log that the session is slower, or delivers fewer messages, than its user may
// expect.

// logTopics logs the topics noted since the last call. The caller holds no lock, because a log
// handler is code of the user.
func (l *packetLog) logTopics() {
	for _, topic := range l.unclaimed.take() {
		l.Info("no Subscription claims this topic: its messages wait for Messages, Deliveries or All of the client", "topic", topic)
	}
	for _, topic := range l.tooLarge.take() {
		l.Warn("a message above MaxPacket is acknowledged and dropped", "topic", topic)
	}
}

// noteWindow logs, once, that publications queue behind a Window of 1, although the broker could
// take more of them at a time.
func (l *packetLog) noteWindow(window, inFlight, queued int) {
	if l.windowNoted || window > 1 || inFlight == 0 || queued < windowQueue {
		return
	}
	l.windowNoted = true
	l.Info("publications queue behind a Window of 1, so that each takes a round trip: a larger Window sends more at a time, "+
		"and may change their order when a connection is lost", "queued", queued)
}

// windowQueue is the length of the queue at which noteWindow logs. One batch of PublishFrom, or one
// burst of Publish calls, can reach it.
const windowQueue = 16

// noteLateAck logs that the broker does not acknowledge the oldest publication in flight.
func (l *packetLog) noteLateAck(st Stats) {
	l.Warn("the broker does not acknowledge a publication; when the Window is full, the others wait for it",
		"for", lateAfter, "age", st.OldestInFlight, "in flight", st.InFlight, "queued", st.Queued)
}

// filled logs that reading pauses, and names the Subscription with most of the unread messages.
func (l *packetLog) filled(boxes *inboxes, subs *flow.Subscriptions[*filterSet]) {
	var filters []string // of no Subscription: the messages are unclaimed
	most, all := boxes.unclaimed.unread()
	look := func(set *filterSet) {
		if n, _ := set.inbox.unread(); n > most {
			most, filters = n, set.topics()
		}
	}
	subs.EachWanted(func(set *filterSet, _ bool) { look(set) })
	for _, set := range subs.Leaving() {
		look(set)
	}
	l.Warn("reading pauses, since more than MaxUnread bytes wait for consumers; filters names the Subscription with most of them",
		"filters", filters, "bytes", most, "of", all)
}
