package stream

import (
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// The reactions of the loop to a broker that closes each connection at the same PUBLISH, see
// Options.GiveUp.

// onTrial sends the suspected publication alone: after the answers to SUBSCRIBE and UNSUBSCRIBE,
// and without other publications until its ack. So the next close tells whether it is the cause. It
// returns false if no publication is suspected.
func (l *loop) onTrial() bool {
	suspect, ok := l.poison.Alone()
	switch {
	case !ok:
		return false
	case l.sender.Oldest() != suspect: // it has ended
		l.poison.Forget()
		return false
	case l.poison.WasSent() || l.asking():
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

// asking reports whether a SUBSCRIBE or UNSUBSCRIBE awaits its answer. Without keep alive there is
// no limit to the wait, so it does not count.
func (l *loop) asking() bool { return l.link.terms.keepAlive > 0 && l.subs.UnderWay() > 0 }

// suspect records which publication the broker has closed the connection at. It is called before
// connection.fail with the error of a read or write.
func (l *loop) suspect(err error) {
	if l.poison == nil || l.link.phase != phaseUp || !link.ClosedByBroker(err) {
		return
	}
	if _, alone := l.poison.Alone(); alone && l.asking() {
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
