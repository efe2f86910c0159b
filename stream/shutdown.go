package stream

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// drainPhase is how far Shutdown has come.
type drainPhase byte

const (
	running  drainPhase = iota
	settling            // nothing is handed out; what was is waited for, and its results may still be published
	emptying            // nothing is accepted; what was is waited for
)

// Shutdown ends the session in order: it stops handing out messages (the
// receive channels close), waits until those handed out are settled, stops
// accepting publishings, waits until those accepted have ended, sends the last
// acks and DISCONNECT, and closes. When ctx ends first it closes at once, and
// the error says how many publications and deliveries were left; with
// KeepSession and a Store the next session finds them there, or at the broker.
func (s *Session) Shutdown(ctx context.Context) error {
	s.call(func(l *loop) {
		if l.draining == running {
			l.draining = settling
			l.s.boxes.stopAll()
		}
	})
	select {
	case <-s.done:
		return s.Close()
	case <-ctx.Done():
	}
	var publications, deliveries int
	if !s.call(func(l *loop) {
		publications, deliveries = l.sender.Len()+len(l.waiting.row), l.handedOut()
	}) {
		return s.Close()
	}
	err := fmt.Errorf("mqtt: Shutdown: %d publications and %d deliveries were not settled: %w",
		publications, deliveries, context.Cause(ctx))
	return errors.Join(err, s.Close())
}

// Close ends the session at once: what is encoded is written, DISCONNECT is sent,
// and the broker is given until a second has passed to read it and to close (it
// does so at once); all publications end with their Receipts, and every
// goroutine is gone when it returns. It can be called any number of times; the
// error says what could not be done.
//
// Receipts go to channels that take them; a channel that takes none for a
// second loses them, and the error says how many.
func (s *Session) Close() error {
	s.closeOnce.Do(func() { close(s.closing) })
	<-s.done
	return s.closeErr
}

// handedOut counts the deliveries that consumers hold.
func (l *loop) handedOut() int {
	n := l.receiver.Waiting()
	l.s.boxes.each(func(d *Delivery) {
		if d.settler != nil && l.receiver.Unsettled(d.seq) {
			n--
		}
	})
	return n
}

// drain moves Shutdown on.
func (l *loop) drain() {
	if l.draining == settling && l.handedOut() == 0 {
		l.draining = emptying
		l.endIntake()
	}
	if l.draining == emptying && l.sender.Len() == 0 && len(l.waiting.row) == 0 &&
		!l.writing && len(l.next.bytes) == 0 && len(l.owed)+l.journal.Len() == 0 {
		l.over = true
	}
}

func (l *loop) endIntake() {
	if l.accepts {
		l.accepts = false
		close(l.s.intakeEnds)
	}
}

// end is the last thing that the loop does.
func (l *loop) end() {
	s := l.s
	close(s.ending)
	l.endIntake()
	s.boxes.stopAll()
	l.hangUp()
	close(s.quit)
	l.endWriter()
	s.core.Wait()

	l.endPublications()
	l.endCalls()
	left := l.handOver()
	s.settler.close()
	s.unclaimed.finish(nil)
	s.mu.Lock()
	s.disband = true
	s.mu.Unlock()
	s.group.Wait()

	last := l.snapshot()
	s.last = &last
	var err error
	if left > 0 {
		err = fmt.Errorf("mqtt: Close: %d Receipts were not taken by their channels", left)
	}
	if l.commitErr != nil {
		err = errors.Join(err, l.commitErr)
	}
	if s.options.Store != nil {
		if e := s.options.Store.Detach(); e != nil {
			err = errors.Join(err, fmt.Errorf("mqtt: store: %w", e))
		}
	}
	s.closeErr = err
	l.timer.Stop()
	l.log.Info("closed", "endpoint", l.endpoint.String(), "error", s.Err())
	s.board.set(func(st *State) { st.Online, st.Resumed, st.Err = false, false, s.endedBy() })
	s.board.close()
	close(s.done)
}

// hangUp writes what is due and DISCONNECT, after which nothing is sent
// [MQTT-3.14.4-2], and ends the connection. A connection that has failed is
// closed without.
func (l *loop) hangUp() {
	s := l.s
	if l.online && l.failed == nil {
		raw := l.link.raw // link is gone when this returns
		raw.finish()
		defer raw.finished()
		l.settle()
		l.acks()
		before := len(l.next.bytes)
		l.next.bytes = must(frames.Disconnect{}.Append(l.next.bytes, s.options.Version))
		if l.debug {
			l.log.Debug("sent", "type", frames.TypeDisconnect.String(), "size", len(l.next.bytes)-before)
		}
	}
	for range 2 { // the batch that the writer has, and the last one
		if l.writing {
			l.wrote(<-s.writes)
		}
		if l.failed != nil {
			l.next.bytes = l.next.bytes[:0]
		}
		l.commitAt = 0
		l.flush()
	}
	if l.writing {
		l.wrote(<-s.writes)
	}
	if l.cancel != nil {
		l.cancel()
	}
	if l.online && l.failed == nil {
		l.linger()
	}
}

// linger closes our side of the connection and reads on until the broker has
// closed its own [MQTT-3.14.4-1]. A connection that is closed while something
// comes in is reset, and a broker that is reset may drop what it has not read
// yet: the last acks, and the DISCONNECT that keeps the will from being
// published. A broker that does not close is given up with the last deadline.
func (l *loop) linger() {
	l.link.closeWrite()
	for e := (event{}); e.err == nil; {
		e = <-l.s.events // no ack counts any more
	}
	l.link.hangUpOrderly()
}

// endPublications gives every publication that has not ended its Receipt.
func (l *loop) endPublications() {
	cause := l.s.endedBy()
	switch {
	case l.commitErr != nil:
		cause = &ended{ErrClosed, l.commitErr}
	case l.failed != nil:
		cause = &ended{ErrClosed, l.failed}
	}
	l.disconnected(cause)
	l.refuseWaiting(cause)
	stored := l.journal != nil
	l.sender.Drain(func(e flow.Ended[owner], sent bool) {
		err := notSent(cause)
		if sent || stored && e.Message.QoS > frames.AtMostOnce { // the store's next owner sends it
			err = unconfirmed(cause)
		}
		l.ended(&e, err)
	})
	l.wakeStages()
}

// endCalls ends the calls that wait for the broker.
func (l *loop) endCalls() {
	cause := l.s.endedBy()
	for _, sub := range l.subs.desired {
		if sub.state == asking {
			sub.state = gone
			sub.reply <- cause
		}
		sub.box.finish(nil)
	}
	for _, sub := range l.subs.leaving {
		sub.box.finish(nil)
		for _, reply := range sub.leavers {
			reply <- cause
		}
	}
	if l.commitErr != nil {
		cause = l.commitErr
	}
	l.synced(math.MaxUint64, cause)
	l.firstResult(cause)
}
