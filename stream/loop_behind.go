package stream

import (
	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// endWaits ends the calls of users that would wait for an answer of the broker, behind messages
// which consumers have not taken. The exchanges go on. It is called while reading is paused for
// consumers. If began is set, the session was not behind before, so earlier calls of Publish end
// too.
func (l *loop) endWaits(began bool) {
	for _, set := range waitingSubscribes(l.subs) {
		// A call whose own messages wait gets its Subscription, so that it can take them. If the
		// broker refuses a filter later, the Subscription ends.
		own, all := set.inbox.unread()
		switch {
		case 2*own > all, own > 0 && l.throttle.behind:
			set.answer(nil)
		case l.throttle.behind:
			l.abandon(set, ErrBehind)
			l.life.wake() // the next turn sends the UNSUBSCRIBE
		}
	}
	if !l.throttle.behind {
		return
	}
	if began {
		l.intake.refuseRest(&l.receipts, l.sender.Accepted(), ErrBehind)
	}
	for _, h := range waitingPublishes(l.sender.Sender, l.intake.taken, began) {
		if e, _ := l.sender.Find(h); e.Message.QoS > frames.AtMostOnce || l.sender.IsQueued(h) {
			l.withdraw(h, ErrBehind)
		}
	}
	l.intake.refuseCalls(&l.receipts, ErrBehind)
	l.intake.endFlushes(ErrBehind)
	l.link.reauth.answer(ErrBehind)
	for _, set := range l.subs.Leaving() {
		set.left(ErrBehind)
	}
	l.receipts.wakeStages()
	l.flush()
}

// waitingSubscribes returns the owners of Subscribe calls that have no answer.
func waitingSubscribes(subs *flow.Subscriptions[*filterSet]) (waiting []*filterSet) {
	subs.EachWanted(func(set *filterSet, asking bool) {
		if asking && !set.replied {
			waiting = append(waiting, set)
		}
	})
	return waiting
}

// waitingPublishes returns the publications of the calls in taken or, if all is set, of all Publish
// calls. Some may have ended.
func waitingPublishes(sender *flow.Sender[owner], taken []*publishCall, all bool) (waiting []flow.Handle) {
	if all {
		sender.Each(func(h flow.Handle, o owner) {
			if _, ok := o.tag.(*publishCall); ok {
				waiting = append(waiting, h)
			}
		})
		return waiting
	}
	for _, call := range taken {
		waiting = append(waiting, call.handle)
	}
	return waiting
}
