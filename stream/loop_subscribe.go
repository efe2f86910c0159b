package stream

import (
	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// subscribe begins a Subscription, which claims the unclaimed messages that match its filters.
func (l *loop) subscribe(set *filterSet) {
	for _, f := range set.filters {
		set.inbox.filters = append(set.inbox.filters, f.Topic)
	}
	l.subs.Add(set, set.filters, l.link.online())
	l.inboxes.claim(l.inboxes.unclaimed, set, l.subs.Lookup)
}

// suback handles the broker's answer to a SUBSCRIBE.
func (l *loop) suback(id uint16, codes []frames.ReasonCode) {
	a, err := l.subs.Suback(id, codes)
	if err != nil {
		l.link.fail(err)
		return
	}
	set := a.Owner
	set.grant(a.First, codes)
	refused := &RefusedError{Filters: a.Refused}
	switch a.Result {
	case flow.Granted:
		set.answer(nil)
	case flow.Rejected:
		if !set.replied { // otherwise the messages are the caller's, who has the Subscription
			l.returnMessages(set)
		}
		set.answer(refused)
		set.inbox.finish(refused)
	case flow.Revoked:
		l.log.Warn("subscription not restored", "error", refused)
		set.inbox.finish(refused)
	}
}

// unsuback handles the broker's answer to an UNSUBSCRIBE.
func (l *loop) unsuback(id uint16) {
	set, ended, err := l.subs.Unsuback(id)
	switch {
	case err != nil:
		l.link.fail(err)
	case ended:
		set.end()
	}
}

// abandon ends a Subscription whose caller has stopped waiting for the SUBACK.
func (l *loop) abandon(set *filterSet, cause error) {
	if set.replied {
		return // the caller gets the Subscription
	}
	mayBeAsked := l.link.online() || l.link.terms.kept
	if !l.subs.Abandon(set, mayBeAsked) {
		return
	}
	l.returnMessages(set)
	set.inbox.finish(cause)
	set.answer(cause)
}

// unsubscribe begins the end of a Subscription.
func (l *loop) unsubscribe(set *filterSet, reply chan<- error) {
	set.leavers = append(set.leavers, reply)
	if l.subs.Remove(set, l.link.online(), l.link.terms.kept) {
		set.end()
	}
}

// returnMessages empties the inbox of a Subscription that failed. A message that other
// Subscriptions have too is dropped. A message that matches other Subscriptions goes to them. A
// message that was unclaimed before goes back to the unclaimed messages. Any other message is
// dropped if it is unwanted, and becomes unclaimed otherwise.
func (l *loop) returnMessages(set *filterSet) {
	drop := func(unwanted func(*slot) bool) (n uint64) {
		l.inboxes.drop(set.inbox, unwanted, func(d *Delivery) {
			n++
			if d.seq != 0 {
				l.receiver.Ack(d.seq)
			}
		})
		return n
	}
	drop(func(s *slot) bool { return s.shared })
	l.subs.EachWanted(func(other *filterSet, _ bool) { l.inboxes.claim(set.inbox, other, l.subs.Lookup) })
	l.count.discarded += drop(func(s *slot) bool {
		return !s.claimed && (l.settings.discardUnclaimed || l.subs.Unsubscribed(s.delivery.Topic))
	})
	l.inboxes.move(set.inbox, l.inboxes.unclaimed, func(*Delivery) bool { return true })
}
