package stream

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// finish is called when NoReconnect ends the session: everything ends but the handing over of the
// messages that have arrived. The acks of consumers are still recorded in the Store.
func (l *loop) finish() {
	if l.ending != running {
		l.ending.advance(over)
		return
	}
	l.ending.advance(finishing)
	l.intake.end(l.life, &l.receipts)
	l.takeAcks()
	l.lastCommits.begin()
}

// finished ends the publications and calls that are left after finish, when the last commits are
// made.
func (l *loop) finished() {
	if !l.lastCommits.over(&l.outbox) {
		return
	}
	l.endPublications()
	l.endCalls()
	l.inboxes.unclaimed.finish(nil)
	if n := l.progress().arrived; n > 0 {
		l.log.Info("the session ends when consumers have taken the messages that have arrived, or with Close", "waiting", n)
	}
}

// end shuts every part of the session down. It is the last call of the loop. The order is the same
// for every end: nothing is handed out any more, the feeders end and have recorded their acks, then
// the acks and the changes of the session are sent and committed, then DISCONNECT. Code of the user
// that does not return holds up each step for endGrace.
func (l *loop) end() {
	l.keepStats()
	l.life.ending.set(true)
	l.commands.close()
	l.link.reauth.stop(l.life.closed())
	l.intake.end(l.life, &l.receipts)
	l.inboxes.stopAll()
	var s stuck
	s.add(l.life.await(feeder), "Decoder, or Delivered of Options.Observer")
	s.add(l.life.await(authHelper), "Exchange of Options.V5.Authenticate")
	l.hangUp()
	l.outbox.end()
	if !l.link.reader.wait() {
		s.add(1, "connection attempt (DialContext or a hook of Options)")
	}

	l.endPublications()
	l.endCalls()
	left := l.receipts.handOver()
	l.inboxes.acks.close()
	l.inboxes.unclaimed.finish(nil)
	s.add(l.life.await(stageHelper), "stage of PublishFrom (its Encoder)")
	l.keepStats()
	l.clock.stop()
	l.log.Info("closed", "endpoint", l.link.endpoint, "error", l.life.Err())
	s.add(l.life.await(logWriter), "log handler, or Warned of Options.Observer")
	l.life.endHelpers()
	l.life.closeErr = errors.Join(l.link.farewell.fault(), closeError(l.settings.store, l.outbox.failing(), left, s))
	l.link.states.set(func(s *State) {
		s.Online, s.Resumed, s.Err, s.Server, s.Next = false, false, l.life.closed(), nil, time.Time{}
	})
	l.link.states.close()
	l.life.done.set(true)
}

// keepStats keeps the present figures for calls of Stats that the loop does not answer.
func (l *loop) keepStats() {
	st := l.snapshot()
	l.life.last.Store(&st)
}

// stuck names the code of the user that has not returned at the end of the session.
type stuck []string

func (s *stuck) add(n int, name string) {
	if n > 0 {
		*s = append(*s, fmt.Sprintf("%d %s", n, name))
	}
}

// hangUp writes the packets that are left, then DISCONNECT, after which nothing is sent
// [MQTT-3.14.4-2], and ends the connection. A failed connection gets no DISCONNECT.
func (l *loop) hangUp() {
	l.takeAcks()
	farewell := cmp.Or(l.link.farewell, &Farewell{})
	bye, hangsUp := farewell.fitting(l.link.terms), farewell.hangsUp(l.link.terms.version)
	quiet := l.link.reauth.abandon() // then nothing but DISCONNECT may be sent
	l.outbox.quiet = false
	if l.link.phase == phaseUp {
		defer l.link.conn.LimitClose()()
		switch {
		case quiet:
			l.outbox.dropBytes()
		default:
			l.outbox.acks(l.receiver.Receiver)
			if !hangsUp {
				l.outbox.packet(bye)
			}
		}
		if farewell.EndSession {
			l.outbox.journal.Clear()
		}
	}
	l.writeRest()
	if quiet && !hangsUp && l.link.phase == phaseUp && !l.outbox.busy {
		if l.outbox.writeAlone(bye, l.clock.now) {
			l.written(written{})
		}
		l.awaitWriter()
	}
	l.link.endAttempt()
	farewell.unsaid = farewell.unsent(l.link.cannotTell())
	switch {
	case l.link.phase == phaseUp && hangsUp, l.link.phase > phaseUp:
		l.link.conn.Abort() // a broker that has got DISCONNECT with a reason need not close its side
	case l.link.phase != phaseUp:
	default:
		l.link.linger()
	}
}

// writeRest passes everything that is left to the Store and the connection.
func (l *loop) writeRest() {
	for range 2 { // the batch that the writer has, and the last one
		l.awaitWriter()
		if l.link.phase > phaseUp {
			l.outbox.disconnected()
		}
		l.outbox.retryNow()
		l.flush()
	}
	l.awaitWriter()
}

// awaitWriter waits for the batch that the writer has, if any, and handles its result.
func (l *loop) awaitWriter() {
	for l.outbox.busy {
		w := <-l.outbox.answers()
		l.written(w)
		if w.early && l.link.phase == phaseUp {
			l.link.conn.LimitClose() // the time until the commit ends does not count
		}
	}
}

// endPublications sends a Receipt for every publication that has none yet.
func (l *loop) endPublications() {
	cause := l.life.closed()
	switch {
	case l.outbox.failing() != nil:
		cause = &causedError{ErrClosed, l.outbox.failing()}
	case l.link.cause != nil:
		cause = &causedError{ErrClosed, l.link.cause}
	}
	l.disconnected(cause)
	l.intake.refuseRest(&l.receipts, l.sender.Accepted(), cause)
	stored := l.outbox.journal != nil && !l.link.farewell.endedSession()
	l.sender.Drain(func(e flow.Ended[owner], sent bool) {
		err := notSent(cause)
		switch {
		case stored && e.Message.QoS > frames.AtMostOnce && l.outbox.failing() == nil:
			err = kept(cause)
		case sent, stored && e.Message.QoS > frames.AtMostOnce: // the Store may have it
			err = unconfirmed(cause)
		}
		l.receipts.complete(&e, err)
	})
	l.receipts.wakeStages()
}

// endCalls answers the calls of users that wait for the broker or the Store.
func (l *loop) endCalls() {
	cause := l.life.closed()
	l.subs.EachWanted(func(set *filterSet, _ bool) { set.end(nil, cause) })
	for _, set := range l.subs.Leaving() {
		set.end(nil, cause)
	}
	if failing := l.outbox.failing(); failing != nil {
		cause = failing
	}
	l.link.reauth.answer(cause)
	l.outbox.answerSyncs(math.MaxUint64, cause)
	l.link.firstResult(cause)
}

// closeError detaches the Store and returns the error of Close: the number of Receipts left, if
// any, the code of the user that still runs, the last failed commit, and the error of Detach.
func closeError(store flow.Store, failing error, left int, still stuck) (err error) {
	if left > 0 {
		err = fmt.Errorf("mqtt: Close: nobody received %d Receipts", left)
	}
	if len(still) > 0 {
		err = errors.Join(err, fmt.Errorf("mqtt: Close: still running after %v: %s", endGrace, strings.Join(still, ", ")))
	}
	if failing != nil {
		err = errors.Join(err, failing)
	}
	if store != nil {
		if e := store.Detach(); e != nil {
			err = errors.Join(err, fmt.Errorf("mqtt: store: %w", e))
		}
	}
	return err
}
