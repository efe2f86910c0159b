package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// The methods here write the message of a lonePath.

// hasNothingToSend reports whether the loop, woken for a plain message at QoS 0, would write that
// message and nothing else.
func (l *loop) hasNothingToSend() bool {
	return l.link.phase == phaseUp && l.link.conn.Direct() && l.ending.accepts() && l.sender.Len() == 0 &&
		l.outbox.empty() && !l.outbox.quiet && l.outbox.err == nil && l.settings.expiry == 0 &&
		!l.log.packets && !l.observer.seesPublished()
}

// writeLone writes the message of a call, whose caller holds the token.
func (l *loop) writeLone(call *publishCall) loneResult {
	m, now := &call.message, time.Since(l.clock.epoch)
	if l.outbox.busy || !l.sender.Fits(m) || l.link.terms.limited(m) && l.link.terms.check(m) != nil {
		return loneRefused
	}
	number := l.outbox.number()
	l.outbox.publish(&frames.Publish{Message: *m})
	bytes, done := l.outbox.flush(now)
	if bytes == 0 {
		return loneRefused // the message does not fit the connection
	}
	l.link.keepAlive.Sent(now)
	l.count.writes++
	l.count.bytesOut += uint64(bytes)
	if !done {
		call.handle = l.sender.Add(*m, owner{tag: call}, now, flow.Expiry{})
		l.sender.Next()
		l.sender.Transmitted(1, number, now)
		return loneAccepted
	}
	l.outbox.committed()
	l.receipts.outcomes.ended(&flow.Ended[owner]{Message: *m, Owner: owner{tag: call}, At: l.clock.now - l.timings.elapsed(now, &l.clock)}, nil)
	if l.clock.burst.begins(l.count.packets(l.outbox.sent, 0)) {
		l.life.wake()
	}
	return loneWritten
}
