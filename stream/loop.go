package stream

import "github.com/go-millrace/mqtt/flow"

// A loop holds the owners of all state and passes values between them, on one goroutine. Until end
// it never waits for a user, the network or a disk. Slow work runs on other goroutines, and values
// for a full channel wait in a list.
type loop struct {
	settings *settings
	commands *commands
	life     *life
	lone     *lonePath
	clock    clock
	log      packetLog
	count    counters
	timings  *timings
	observer *observer // nil without Options.Observer

	// Protocol state.
	sender   sender
	receiver receiver
	subs     *flow.Subscriptions[*filterSet]

	// Between users, loop and broker.
	intake   intake
	receipts receipts
	inboxes  *inboxes
	throttle throttle
	outbox   outbox
	link     connection
	ending   ending

	lastCommits lastCommits

	renew bool // after this turn another goroutine runs the loop
}

// tick begins a turn.
func (l *loop) tick() {
	l.lone.takeBack()
	l.renew = l.clock.tick()
	l.log.refresh()
}

// progress returns the state that Shutdown waits for.
func (l *loop) progress() progress {
	return progress{
		deliveries:   l.receiver.Waiting() - l.inboxes.pending(l.receiver.Receiver),
		publications: l.sender.Len() + len(l.intake.resting.messages),
		unwritten:    !l.outbox.empty(),
		arrived:      l.inboxes.waiting() + l.life.count(feeder) + l.receiver.Waiting(),
	}
}

// snapshot returns the counters and the present values of the gauges.
func (l *loop) snapshot() Stats {
	st := l.count.stats()
	st.Sent, st.Resent = l.outbox.sent, l.outbox.resent
	st.Writes += l.outbox.alone.packets
	st.BytesOut += l.outbox.alone.bytes
	st.Queued = l.sender.Queued() + len(l.intake.resting.messages)
	st.QueuedBytes = int(l.sender.QueuedBytes())
	st.NotQueued, st.Evicted, st.GivenUp = l.sender.overflow.refused, l.sender.overflow.evicted, l.sender.givenUp
	if seq, at := l.sender.OldestQueued(); seq > 0 {
		st.OldestQueued = l.clock.now - at
	}
	st.InFlight = l.sender.InFlight()
	if seq, at := l.sender.OldestInFlight(); seq > 0 {
		st.OldestInFlight = l.clock.now - at
	}
	st.Unreported, st.LateReplies = l.receipts.failed, l.receipts.replies.lateReplies()
	st.Receipts = int(l.receipts.counts.waiting.Load())
	st.Unacked = l.receiver.Unacked()
	if a, _, ok := l.receiver.holdsAcks(); ok {
		st.OldestUnacked = l.clock.now - a.at
	}
	st.Window, st.Surplus = l.link.terms.window, l.receiver.Surplus()
	st.Paused, st.PausedFor, st.Behind = l.throttle.paused, l.throttle.pausedFor(l.clock.now), l.throttle.behind
	st.Subscribed = l.subs.Wanted()
	st.Online = l.link.online()
	st.StoreWaiting = l.outbox.committing(l.clock.now)
	st.StoreFailing = l.outbox.failing() != nil
	l.receipts.outcomes.snapshot(&st)
	l.inboxes.snapshot(&st)
	return st
}

// shrink frees memory. It is called for a PINGRESP, which is the sign of an idle connection, and
// some time after a burst.
func (l *loop) shrink() {
	unused := l.sender.Len() == 0
	if unused {
		l.sender.Shrink()
	}
	l.outbox.shrink(unused)
	l.receiver.Shrink()
	l.receiver.waits.shrink()
	l.inboxes.shrink()
	oldest, _ := l.receiver.Waits()
	l.inboxes.hands.shrink(oldest)
	l.intake.shrink()
	l.clock.burst.freed(l.clock.now, l.count.packets(l.outbox.sent, l.sender.Len()), !unused || l.inboxes.waiting() > 0)
	l.renew = true
}
