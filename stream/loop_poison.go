package stream

import (
	"time"

	"github.com/go-millrace/mqtt/stream/internal/link"
)

// The reactions of the loop to a broker that closes each connection at the same PUBLISH, see
// Options.GiveUp.

// onTrial sends the suspected publication alone: after the answers to SUBSCRIBE and UNSUBSCRIBE,
// for which it waits until longestRequest, and without other publications until its ack. So the
// next close tells whether it is the cause. It returns false if no publication is suspected.
func (l *loop) onTrial() bool {
	suspect, ok := l.poison.Alone()
	switch {
	case !ok:
		return false
	case l.sender.Oldest() != suspect: // it has ended
		l.poison.Forget()
		return false
	case l.poison.WasSent(), l.clock.now < l.trialAt():
		return true
	}
	if l.outbox.terms.limited() && !l.outbox.fits(l.sender, l.clock.now, l.receipts.misfit) {
		l.poison.Forget()
		return false
	}
	if out, ok := l.sender.Next(l.outbox.number(), l.clock.now); ok {
		l.outbox.transmit(&out, l.clock.now)
		l.poison.Sent()
	}
	return true
}

// trialAt returns the time at which the suspected publication is sent without the answers that it
// waits for, 0 for none.
func (l *loop) trialAt() time.Duration {
	if _, ok := l.poison.Alone(); !ok || l.link.phase != phaseUp || l.poison.WasSent() || l.subs.UnderWay() == 0 {
		return 0
	}
	return l.poison.Since() + longestRequest
}

// suspect records which publication the broker has closed the connection at. It is called before
// connection.fail with the error of a read or write.
func (l *loop) suspect(err error) {
	if l.poison == nil || l.link.phase != phaseUp || !link.ClosedByBroker(err) {
		return
	}
	if _, alone := l.poison.Alone(); alone && l.subs.UnderWay() > 0 {
		return // a SUBSCRIBE or UNSUBSCRIBE, sent meanwhile, may be the cause
	}
	if l.poison.Closed(l.sender.Suspect(l.outbox.sentUpTo(l.clock.now))) == 1 {
		l.log.Info("the broker closed the connection without any ack; the oldest publication is sent alone next")
	}
}

// giveUp ends the suspected publication if the broker has closed as often as Options.GiveUp allows.
func (l *loop) giveUp(cause error) {
	seq, closes, due := l.poison.Due()
	if !due {
		return
	}
	e, ok := l.sender.GiveUp(seq)
	if !ok {
		return // past PUBREC
	}
	l.poison.Forget()
	l.count.givenUp++
	l.log.Warn("a publication is given up, since the broker closed each connection on which it was sent",
		"topic", e.Message.Topic, "id", e.ID, "closes", closes, "error", cause)
	l.receipts.complete(&e, unconfirmed(&PoisonError{ID: e.ID, Topic: e.Message.Topic, Closes: closes, Err: cause}))
}
