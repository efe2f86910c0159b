package stream

import (
	"context"
	"fmt"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// accept adds p to the queue, and up to acceptBatch-1 other publishings that are ready.
func (l *loop) accept(p Publishing) {
	l.add(p)
	for n := 1; n < acceptBatch && l.sender.Room().Left(); n++ {
		p, ok := l.intake.another(&l.clock)
		if !ok {
			return
		}
		l.add(p)
	}
}

// add puts a publishing at the end of the queue.
func (l *loop) add(p Publishing) {
	o := owner{tag: p.Tag, ack: p.Ack, shift: 1}
	if o.ack == nil {
		o.ack = l.settings.ack
	}
	err := p.Message.Validate(l.settings.version)
	if l.ending == finishing {
		err = l.life.closed()
	}
	if err == nil {
		err = l.makeRoom(&p.Message)
	}
	if err != nil {
		l.receipts.refuse([]frames.Message{p.Message}, o, err)
		return
	}
	l.sender.Add(p.Message, o, l.clock.now, l.clock.expiry(p.Properties, l.settings.expiry))
}

// acceptCalls puts the messages of Publish calls at the end of the queue. The calls have validated
// their messages.
func (l *loop) acceptCalls() {
	if !l.ending.accepts() {
		return
	}
	for _, call := range l.intake.takeCalls(l.sender.Room()) {
		if err := l.makeRoom(&call.message); err != nil {
			call.handle = flow.Handle{}
			l.receipts.refuse([]frames.Message{call.message}, owner{tag: call}, err)
			continue
		}
		expiry := l.clock.expiry(call.message.Properties, l.settings.expiry)
		call.handle = l.sender.Add(call.message, owner{tag: call}, l.clock.now, expiry)
	}
}

// admit puts as many messages of a run into the queue as there is room for. With flow.Block the
// remaining messages wait at the intake, and are accepted before any later publishing.
func (l *loop) admit(run stageRun) {
	for len(run.messages) > 0 {
		part := run.take(l.sender.Room())
		if len(part.messages) == 0 {
			if l.intake.overflows {
				if err := l.makeRoom(&run.messages[0]); err != nil {
					first := run.first()
					l.receipts.refuse(first.messages, first.owner(0), err)
				}
				continue
			}
			l.intake.leaveRest(run)
			if l.intake.behind {
				l.intake.refuseRest(&l.receipts, l.sender.Accepted(), ErrBehind)
			}
			return
		}
		expiry := l.clock.expiry(part.messages[0].Properties, l.settings.expiry)
		l.sender.AddRun(part.messages, part.owner(l.sender.Accepted()+1), l.clock.now, expiry)
	}
}

// makeRoom makes room in the queue for m, or returns the reason why m is refused. With flow.Block
// there is room, since otherwise nothing was received.
func (l *loop) makeRoom(m *frames.Message) error {
	if !l.intake.overflows {
		if l.intake.behind && !l.sender.Fits(m) {
			return ErrBehind
		}
		return nil
	}
	return l.sender.admits(m, &l.receipts, func() {
		if l.link.phase == phaseUp {
			l.sender.send(&l.outbox, l.subs.UnderWay() > 0, l.clock.now, l.receipts.misfit)
			if l.outbox.full() {
				l.flush()
			}
		}
	})
}

// resend retransmits packets whose ack is overdue, if Options.Retry is set. It retransmits nothing
// while reading is paused, nor for Retry.Initial after that, nor on MQTT 5 [MQTT-4.4.0-1].
func (l *loop) resend() {
	retry := l.settings.retry
	if retry == nil || l.link.terms.version >= frames.V5 {
		return
	}
	at, now := &l.link.resendAt, l.clock.now
	switch {
	case l.sender.InFlight() == 0 && l.subs.UnderWay() == 0:
		*at = 0
	case l.throttle.paused: // the ack may lie unread
		*at = now + retry.Initial
	case *at == 0, l.outbox.backlog() > 0 && *at > now+retry.Initial:
		*at = now + retry.Initial // a packet sent now may be overdue then
	case now >= *at:
		next, ok := l.sender.Overdue(l.outbox.number(), now, func(out flow.Outgoing) { l.outbox.transmit(&out, now) })
		if also, asked := l.subs.Overdue(now, l.outbox.request); asked && (!ok || also < next) {
			next, ok = also, true
		}
		if *at = next; !ok {
			*at = 0
		}
	}
}

// flush hands the batch to the writer if the writer is idle.
func (l *loop) flush() {
	if l.outbox.err != nil {
		l.link.fail(l.outbox.err)
	}
	if !l.outbox.occupied() { // otherwise the result of the write causes another turn
		if code, ok := l.link.takeBye(); ok {
			l.link.said(l.outbox.disconnect(code, l.clock.now))
		}
	}
	if l.link.phase > phaseUp && l.ending != over {
		return
	}
	var alone frames.Packet
	if !l.outbox.busy {
		alone = l.link.alone(l.clock.now, l.throttle.paused)
	}
	l.outbox.quiet = l.link.reauth.quiet()
	if _, ping := alone.(frames.Pingreq); ping {
		l.subs.Pinged()
	}
	if alone != nil && l.outbox.writeAlone(alone, l.clock.now) {
		l.written(written{})
	}
	bytes, done := l.outbox.flush(l.clock.now)
	if bytes > 0 {
		l.link.keepAlive.Sent(l.clock.now)
		l.count.writes++
		l.count.bytesOut += uint64(bytes)
	}
	if done {
		l.written(written{})
	}
}

// written handles the result of a batch.
func (l *loop) written(w written) {
	if w.commit != nil {
		l.uncommitted(w.commit)
		return
	}
	if !w.early {
		l.link.lateAck.written(l.clock.now, l.outbox.age(l.clock.now))
	}
	if l.outbox.commits(w) {
		l.count.commits++
	}
	number, hadBytes, ping := l.outbox.done(w)
	if ping && w.write == nil {
		l.link.keepAlive.PingWritten(l.clock.now, l.link.conn.Sent())
	}
	switch {
	case w.write != nil:
		if l.link.phase == phaseUp {
			l.sender.suspect(w.write, l.subs.UnderWay() > 0, l.outbox.sentUpTo(l.clock.now), &l.log)
		}
		l.link.fail(w.write)
	case hadBytes:
		l.link.keepAlive.Sent(l.clock.now)
		l.sender.Written(number, func(e flow.Ended[owner]) { l.receipts.complete(&e, lowered(&e)) })
	}
	if w.write != nil {
		l.link.takeBye() // the connection takes no DISCONNECT
	}
	if !w.early && l.link.phase > phaseUp && !l.link.leaving() {
		l.link.said(false)
	}
}

// uncommitted handles a failed commit. No change in the batch was applied, and the bytes of the
// batch are lost with the connection [MQTT-4.8.0-2]. New publications in this commit end with the
// error, since the disk may stay full for a long time. The other changes are committed again. When
// that commit fails too, publications accepted meanwhile also end; otherwise ever more of them
// would wait.
func (l *loop) uncommitted(err error) {
	again := l.outbox.failing() != nil
	l.log.Error("a commit of the Store failed", "error", err)
	l.link.fail(err)
	end := func(e flow.Ended[owner]) {
		e.ID = 0 // the message was never sent
		l.receipts.complete(&e, notSent(err))
	}
	l.outbox.uncommitted(err, l.clock.now, func(changes []flow.Change) []flow.Change {
		l.sender.CommitFailed(changes, end)
		if again {
			l.sender.EndJournaled(end)
		}
		return changes
	})
}

// acknowledged handles a PUBACK, PUBREC or PUBCOMP.
func (l *loop) acknowledged(p *packet) {
	if p.code != frames.Success && p.code != frames.NoMatchingSubscribers && p.code < frames.UnspecifiedError {
		l.log.noteCode(p.kind, p.code)
	}
	l.sender.poison.Acked()
	if p.kind != frames.TypePubcomp {
		l.outbox.aliases.answered(p.id, p.code)
	}
	e, outcome := l.sender.Acknowledge(p.kind, p.id, p.code, l.outbox.sentUpTo(l.clock.now), l.clock.now)
	switch outcome {
	case flow.Confirmed:
		l.count.acknowledged++
		l.receipts.complete(&e, lowered(&e))
	case flow.Downgraded:
		l.receipts.complete(&e, &DowngradedError{ID: e.ID, QoS: frames.AtLeastOnce})
	case flow.Refused:
		l.receipts.complete(&e, &RefusalError{Code: p.code, Reason: p.properties().Reason, User: p.properties().User})
	case flow.Mismatched:
		l.receipts.complete(&e, unconfirmed(p.code))
	case flow.Release:
		l.outbox.ack(frames.Ack{Kind: frames.TypePubrel, ID: p.id})
	case flow.ReleaseUnknown:
		l.outbox.ack(frames.Ack{Kind: frames.TypePubrel, ID: p.id, AckReason: frames.AckReason{Code: frames.PacketIdentifierNotFound}})
	case flow.Violation:
		l.link.fail(&frames.ProtocolError{Type: p.kind, Reason: fmt.Sprintf("does not fit the exchange of packet identifier %d", p.id)})
	}
}

// lowered returns the error for a publication that was completed at a lower QoS than it asked for.
func lowered(e *flow.Ended[owner]) error {
	if !e.Lowered {
		return nil
	}
	return &DowngradedError{ID: e.ID, QoS: e.Message.QoS}
}

// withdraw ends a publication whose caller has given up, and removes it from the queue if it was
// not yet sent.
func (l *loop) withdraw(h flow.Handle, cause error) {
	e, ok := l.sender.Find(h)
	if !ok {
		return
	}
	gone, _ := l.sender.Withdraw(h)
	err := unconfirmed(cause)
	if gone {
		err = notSent(cause)
	}
	l.receipts.complete(&e, err)
}

// gaveUpPublish returns the cause for the Receipt of a publication whose call ended by ctx.
func gaveUpPublish(l *loop, ctx context.Context, h flow.Handle) error {
	waits := "the broker has not acknowledged it"
	if l.sender.IsQueued(h) {
		waits = "it waits behind other publications"
	}
	return gaveUp(ctx, l.link.states.reason(waits))
}

// withdrawStage ends the pending messages of a stage whose context has ended.
func (l *loop) withdrawStage(st *stage) {
	cause := context.Cause(st.ctx)
	if l.intake.resting.stage == st {
		l.intake.refuseRest(&l.receipts, l.sender.Accepted(), cause)
	}
	var pending []flow.Handle
	l.sender.Each(func(h flow.Handle, o owner) {
		if o.tag == st {
			pending = append(pending, h)
		}
	})
	for _, h := range pending {
		l.withdraw(h, gaveUpPublish(l, st.ctx, h))
	}
}
