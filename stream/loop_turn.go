package stream

import "github.com/go-millrace/mqtt/flow"

// run is the body of the loop's goroutine. At deadlines and after shrink it starts another
// goroutine in its place: turns grow the stack, and the runtime does not shrink it to the size that
// a waiting goroutine needs. While a PINGRESP is awaited it does not, since shrink follows soon.
func (l *loop) run() {
	for l.ending != over {
		l.wait()
		l.turn()
		if l.renew && !l.link.awaitsPingresp() {
			l.renew = false
			go l.run()
			return
		}
	}
	l.end()
}

// wait receives one event and handles it. It returns at once if messages wait at the intake and the
// queue now has room for them. A channel that must not be received from now is nil.
func (l *loop) wait() {
	room := l.sender.Room()
	if l.intake.ready(room) {
		return
	}
	publishes, runs := l.intake.channels(room)
	switch {
	case l.ending == finishing:
		publishes, runs = l.intake.publishes, nil
	case !l.ending.accepts():
		publishes, runs = nil, nil
	}
	events := l.link.reader.events
	if l.link.phase == phaseUp && !l.throttle.reads(l.clock.now) {
		events = nil
	}
	answers := l.outbox.answers()
	if l.hasNothingToSend() {
		l.lone.lend() // from here to tick, the state may belong to a caller of Publish
	}
	select {
	case p := <-publishes:
		l.tick()
		l.accept(p)
	case run := <-runs:
		l.tick()
		l.admit(run)
	case e := <-events:
		l.tick()
		l.event(e)
	case w := <-answers:
		l.tick()
		l.written(w)
	case <-l.life.wakeups:
		l.tick()
		l.woken()
	}
}

// woken checks the lists that the loop shares with other goroutines. The calls of Publish come
// before the commands, so that Flush waits for the calls that began before it.
func (l *loop) woken() {
	if l.life.closing.Load() {
		l.ending.advance(over)
	}
	l.takeAcks()
	l.acceptCalls()
	l.receipts.sweep()
	if l.commands.runNext(l) {
		l.life.wake()
	}
}

// turn does everything that the last event made possible, and flushes the batch.
func (l *loop) turn() {
	l.inboxes.resume(l.clock.now, l.receiver.Ack)
	if l.intake.rests() {
		l.admit(l.intake.takeRest())
	}
	l.sender.overflow.rest(l.sender.Relaxed)
	l.sender.Expire(l.clock.now, func(e flow.Ended[owner]) { l.receipts.complete(&e, notSent(ErrExpired)) })
	if l.link.phase == phaseUp {
		l.outbox.acks(l.receiver.Receiver)
		for r, ok := l.subs.Next(l.clock.now); ok; r, ok = l.subs.Next(l.clock.now) {
			if r.Refused == nil {
				l.outbox.request(r)
			} else {
				l.suback(r.ID, r.RefusalCodes(), RefusedError{Cause: r.Refused})
			}
		}
		l.sender.send(&l.outbox, l.subs.UnderWay() > 0, l.clock.now, l.receipts.misfit)
		l.log.noteWindow(l.link.terms.window, l.sender.InFlight(), l.sender.Queued())
		fluent := !l.throttle.paused && !l.outbox.quiet && l.outbox.age(l.clock.now) < slowBatch
		if l.link.lateAck.late(l.clock.now, fluent, l.sender.InFlight(), l.sender.OldestInFlight) {
			l.log.noteLateAck(l.snapshot())
		}
		l.resend()
		if !l.throttle.paused { // otherwise the answers may lie unread
			l.lapse()
		}
		l.ping()
	} else {
		l.sender.offline()
	}
	endUnsubscribed(l.subs)
	l.finished()
	l.flush()
	l.outbox.warnOfSlowCommit(l.clock.now, l.link.terms.keepAlive)
	l.outbox.rest()
	l.receipts.wakeStages()
	if l.link.phase == phaseFailed && !l.outbox.busy {
		l.connectionLost()
		l.finished()
		l.flush() // commits the changes without waiting for the next connection
	}
	if len(l.intake.flushes) > 0 {
		l.intake.flushed(l.sender.Oldest())
	}
	if l.ending != over && l.link.dial(l.clock.now) {
		l.count.attempts++
	}
	l.throttleReading()
	if l.ending.waits() && !l.lastCommits.waits() && l.ending.next(l.progress()) && !l.ending.accepts() {
		l.intake.end(l.life, &l.receipts)
	}
	if l.intake.callsReady(l.sender.Room()) {
		l.life.wake() // select is fair: the calls compete with everything else
	}
	if l.clock.burst.over(l.clock.now, l.count.packets(l.outbox.sent, l.sender.Len())) {
		l.shrink()
	}
	held := l.receiver.warnOfHeldAcks(l.clock.now, &l.log, l.inboxes, l.subs)
	l.clock.arm(l.link.pingAt(l.clock.now, l.throttle.paused), l.link.resendAt, l.link.lapseAt, l.link.due(),
		l.link.lateAck.checkAt, l.outbox.retryAt(), l.outbox.overtakesAt(), held, l.inboxes.requeueDue(),
		l.throttle.restUntil, l.throttle.behindAt, l.clock.burst.freeAt, l.sender.ExpiresAt(), l.link.reauth.at(), l.sender.trialAt(l.link.phase == phaseUp && l.subs.UnderWay() > 0))
}

// throttleReading decides whether the loop receives from the reader in its next turn.
func (l *loop) throttleReading() {
	was := l.throttle
	l.inboxes.measure(func(used usage, consumed uint64) (wakeAt usage) {
		return l.throttle.decide(l.clock.now, load{
			waiting:    used,
			consumed:   consumed,
			unacked:    l.receiver.Unacked(),
			ackBytes:   l.outbox.ackBytes(),
			awaiting:   l.sender.InFlight() > 0 || l.subs.UnderWay() > 0,
			delivering: l.ending.delivers() && l.link.phase == phaseUp,
		})
	})
	if was.paused && !l.throttle.paused {
		l.link.keepAlive.Resumed(l.clock.now) // we did not read, so the broker was not silent
		l.life.wake()                         // a re-authentication may wait for this
	}
	if l.throttle.filled && !was.filled {
		l.log.filled(l.inboxes, l.subs)
	}
	if l.throttle.behind != was.behind {
		l.intake.behind = l.throttle.behind
		l.receipts.counts.behind.set(l.throttle.behind)
	}
	if l.throttle.paused {
		l.endWaits(!was.behind)
	}
}

// ping sends PINGREQ when it is due, and closes a connection whose broker does not answer. While
// only AUTH may be sent, it watches the re-authentication instead.
func (l *loop) ping() {
	now, c, k := l.clock.now, l.link.conn, &l.link.keepAlive
	if l.throttle.forConsumers {
		l.link.reauth.unread(now)
	}
	if err := l.link.reauth.check(now, l.link.terms.keepAlive); err != nil {
		l.link.fail(err)
	}
	if l.outbox.quiet || l.link.phase != phaseUp {
		return
	}
	if k.Measures(now) {
		k.Measured(now, c.Left())
	}
	paused, bytesIn := l.throttle.paused, c.BytesIn()
	if l.outbox.heldUp(now) {
		k.HeldUp(now)
	}
	switch k.Check(now, bytesIn, paused, l.outbox.sending(now)) {
	case flow.SendPing:
		l.outbox.pingreq()
		k.Pinged(now, bytesIn, paused)
		l.subs.Pinged()
	case flow.PeerDead:
		l.link.fail(errNoPingresp)
	case flow.LineDead:
		l.link.fail(errPingreqStuck)
	}
}

const (
	errNoPingresp   lateError = "mqtt: the broker did not answer PINGREQ"
	errPingreqStuck lateError = "mqtt: the connection took no bytes of PINGREQ"
)
