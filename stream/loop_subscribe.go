package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// subscribe begins a Subscription, which claims the unclaimed messages that match its filters.
func (l *loop) subscribe(set *filterSet) {
	if l.ending == finishing {
		set.answer(l.life.closed())
		set.inbox.finish(nil)
		return
	}
	for _, f := range set.filters {
		set.inbox.filters = append(set.inbox.filters, f.Topic)
	}
	l.subs.Add(set, set.filters, set.declared)
	l.inboxes.claim(l.inboxes.unclaimed, set, l.subs.Lookup)
}

// suback handles the broker's answer to a SUBSCRIBE. The parameter why has the reason of a refusal.
func (l *loop) suback(id uint16, codes []frames.ReasonCode, why RefusedError) {
	answers, err := l.subs.Suback(id, codes, (*filterSet).grant)
	if err != nil {
		l.link.fail(err)
		return
	}
	for _, a := range answers {
		set := a.Owner
		refused := &RefusedError{Filters: a.Refused, Codes: a.Codes, Reason: why.Reason, Cause: why.Cause}
		switch a.Result {
		case flow.Granted:
			set.answeredAll(nil)
		case flow.Partly:
			l.log.Warn("the broker refused filters of a declared subscription", "error", refused)
			set.answeredAll(a.Refused)
		case flow.Rejected:
			if !set.replied { // otherwise the messages are the caller's, who has the Subscription
				l.returnMessages(set)
			}
			set.refuse(a.Refused)
			set.end(refused, refused)
		case flow.Revoked:
			l.log.Warn("subscription not restored", "error", refused)
			set.end(refused, refused)
		}
	}
}

// endUnsubscribed finishes the Subscriptions that were unsubscribed.
func endUnsubscribed(subs *flow.Subscriptions[*filterSet]) {
	for _, d := range subs.Ended() {
		var err error
		if d.Code >= frames.UnspecifiedError {
			err = &causedError{errNotUnsubscribed, d.Code}
		}
		d.Owner.end(nil, err)
	}
}

var errNotUnsubscribed = errors.New("mqtt: the broker refused to unsubscribe")

// abandon ends a Subscription whose caller has stopped waiting for the SUBACK.
func (l *loop) abandon(set *filterSet, cause error) {
	if set.replied {
		return // the caller gets the Subscription
	}
	if l.subs.Abandon(set) {
		l.returnMessages(set)
		set.end(cause, cause)
	}
}

// gaveUpRequest returns the error of a call that ended by ctx while it waited for the answer to a
// SUBSCRIBE or UNSUBSCRIBE of set.
func gaveUpRequest(l *loop, ctx context.Context, set *filterSet, request frames.Type) error {
	reason := fmt.Sprintf("%v is not sent yet, since %d requests have no answer", request, l.subs.UnderWay())
	if sentAt, ok := l.subs.Awaits(set); ok {
		reason = fmt.Sprintf("no answer to %v for %v", request, (l.clock.now - sentAt).Round(time.Millisecond))
	}
	if refused, codes := l.subs.Refused(set); len(refused) > 0 {
		return gaveUp(ctx, &causedError{errors.New(reason), &RefusedError{Filters: refused, Codes: codes}})
	}
	return gaveUp(ctx, l.link.states.reason(reason))
}

// lapse ends the calls whose SUBSCRIBE or UNSUBSCRIBE the broker does not answer, although it
// answers a later PINGREQ. Without keep alive no PINGREQ is sent.
func (l *loop) lapse() {
	limit := min(l.link.terms.keepAlive, longestRequest)
	if limit == 0 {
		return
	}
	ended, ping, next := l.subs.Lapse(l.clock.now, limit)
	l.link.lapseAt = next
	if ping {
		l.outbox.packet(frames.Pingreq{})
		l.subs.Pinged()
	}
	for _, e := range ended {
		err := fmt.Errorf("mqtt: the broker did not answer %v within %v, but it answers PINGREQ", e.Type, limit)
		switch {
		case e.Type == frames.TypeUnsubscribe:
			e.Owner.end(nil, err)
		case e.Owner.replied:
			e.Owner.end(err, err)
		default:
			l.returnMessages(e.Owner)
			e.Owner.end(err, err)
		}
	}
}

// longestRequest is how long a SUBSCRIBE or UNSUBSCRIBE may have no answer, unless keep alive is
// shorter.
const longestRequest = 20 * time.Second

// returnMessages empties the inbox of a Subscription that failed. A message that other
// Subscriptions have too is dropped. A message that matches other Subscriptions goes to them. A
// message that was unclaimed before goes back to the unclaimed messages. Any other message of a
// session that ends with the connection is dropped if it is unwanted. All other messages become
// unclaimed: the broker may have kept them for a Subscription that comes later.
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
		return !s.claimed && (l.settings.discardUnclaimed || !l.link.terms.kept && l.subs.Unsubscribed(s.delivery.Topic))
	})
	l.inboxes.move(set.inbox, l.inboxes.unclaimed, func(*Delivery) bool { return true })
}
