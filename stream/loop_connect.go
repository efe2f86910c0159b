package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// event handles an event of the reader.
func (l *loop) event(e event) {
	switch {
	case e.conn != nil:
		l.connected(e.conn)
	case e.err != nil && !l.link.online():
		next, wait := l.schedule(e.err)
		l.log.Info("connection failed", "endpoint", l.link.endpoint, "attempt", l.link.states.State().Attempt+1, "error", e.err, "next", wait)
		l.attempted(nil, e.err)
		l.link.attemptFailed(e.err, next)
		l.reconnect(e.err)
	case e.err != nil:
		if l.link.phase == phaseUp {
			l.sender.suspect(e.err, l.subs.UnderWay() > 0, l.outbox.sentUpTo(l.clock.now), &l.log)
		}
		l.link.readerGone(e.err)
	case l.link.phase == phaseUp:
		if e.buffer != nil {
			l.inboxes.readInto(e.buffer)
		}
		l.receive(e.packets)
	}
}

// schedule plans the next attempt after a failure, and returns its time and the wait until then.
// With NoReconnect there is none.
func (l *loop) schedule(cause error) (next time.Time, wait time.Duration) {
	if l.settings.noReconnect {
		return next, 0
	}
	l.link.backoff.Schedule(l.clock.now, link.Useless(cause))
	return l.clock.epoch.Add(l.link.due()), l.link.due() - l.clock.now
}

// reconnect ends the session if NoReconnect is set.
func (l *loop) reconnect(cause error) {
	if l.settings.noReconnect {
		l.life.fail(cause)
		l.finish()
	}
}

// attempted records the end of a connection attempt, which made c or failed.
func (l *loop) attempted(c *link.Conn, err error) {
	began, took := l.link.dialed, l.clock.now-l.link.dialed
	a := Attempted{Endpoint: l.link.endpoint, Number: l.link.states.State().Attempt + 1,
		Began: l.clock.epoch.Add(began), Took: took, Err: err}
	if c != nil {
		a.Endpoint, a.Version, a.Resumed = c.Endpoint, c.Version, l.link.terms.resumed
		l.timings.connect(took)
	}
	l.observer.attempted(a)
}

// connected begins a connection. SUBSCRIBE packets go out first, then publications in flight, then
// new publications.
func (l *loop) connected(c *link.Conn) {
	was := l.link.terms.pinned
	l.link.begin(c, l.clock.now, l.clock.since(c.Began))
	l.count.connections++
	t := &l.link.terms
	l.outbox.connected(c, t)
	l.sender.poison.Connected(l.clock.now)
	l.sender.SetWindow(t.window)
	l.receiver.SetQuota(t.receiveMaximum(), t.resumed)
	l.subs.Limit(t.refuse, t.maxPacket)
	switch {
	case !t.kept, t.resumed:
	case t.doubtful(): // go on as if the broker had the session
		l.receiver.Doubt()
	default:
		l.sender.SessionLost(func(e flow.Ended[owner]) { l.receipts.complete(&e, unconfirmed(ErrSessionLost)) })
		l.receiver.Clear()
	}
	if r, ok := t.record(was); ok {
		l.outbox.journal.Open(r)
	}
	if t.version >= frames.V5 && t.resumed && was == 0 && l.count.connections == 1 {
		l.log.Warn("the broker has a session that this client does not know; it goes on with that session", "client", t.clientID)
	}
	l.receipts.replies.connected(t)
	withdrawRequests(l)
	l.takeAcks() // a copy takes the place of a message that was requeued before
	l.inboxes.reconnected(t.mayHaveSession())
	l.subs.Connected(t.mayHaveSession(), t.resumed && l.settings.trustSession)
	l.log.Info("connected", "endpoint", l.link.endpoint, "version", t.version.String(), "client", t.clientID, "resumed", t.resumed)
	l.attempted(c, nil)
	l.link.announce()
}

// connectionLost ends a failed connection. It is called when reader and writer no longer use the
// connection.
func (l *loop) connectionLost() {
	err, code := l.link.cause, l.link.code()
	lasted := l.link.backoff.Down(l.clock.now)
	var next time.Time
	var wait time.Duration
	if l.ending != over {
		next, wait = l.schedule(err)
	}
	l.log.Info("connection lost", "endpoint", l.link.endpoint, "error", err, "code", code.Error(), "lasted", lasted, "next", wait)
	l.log.noteMistake(err)
	l.sender.giveUp(err, &l.receipts)
	l.disconnected(err)
	l.count.lost++
	l.link.announceLost(err, next)
	if l.ending != over {
		l.reconnect(err)
	}
}

// disconnected tells each owner that the connection is gone, and resets all per-connection state.
func (l *loop) disconnected(cause error) {
	kept := l.link.terms.kept
	l.link.reset()
	l.outbox.disconnected()
	l.sender.Lost(l.outbox.handed, kept, func(e flow.Ended[owner]) { l.receipts.complete(&e, unconfirmed(cause)) })
	l.receiver.Lost(kept)
	l.subs.Lost()
	endUnsubscribed(l.subs)
	l.receipts.wakeStages()
}
