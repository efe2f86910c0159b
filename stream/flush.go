package stream

import (
	"context"
	"errors"

	"github.com/go-millrace/mqtt/stream/internal/link"
)

// Flush waits until every publication that was accepted before the call has ended. It says nothing
// about their fate: a refused publication is no longer in flight either. Each Receipt tells.
func (s *Session) Flush(ctx context.Context) error {
	flush := make(chan error, 1)
	if !s.call(func(l *loop) { l.intake.flush(l.sender.Accepted(), flush) }) {
		return s.life.closed()
	}
	select {
	case err := <-flush:
		return err
	case <-ctx.Done():
	case <-s.life.ending.passed():
	}
	select {
	case err := <-flush:
		return err
	default:
	}
	s.call(func(l *loop) { l.intake.dropFlush(flush) })
	if ctx.Err() != nil {
		return gaveUp(ctx, s.states.reason("publications are queued or in flight"))
	}
	return s.life.closed()
}

// Sync waits until the Store has committed all changes made before the call. The changes record the
// QoS 1 and 2 publishings that were sent on Publishes and are not yet complete, and the QoS 2
// deliveries that were acknowledged. When Sync has returned nil, a durable Store keeps them even if
// the process dies; until then an accepted publishing may exist in memory only. Concurrent calls
// share one commit.
//
// When Sync returns an error of the Store, the commit failed and the Store has none of its changes.
// A publishing in a failed commit ends with the error in its Receipt; a later Sync that returns nil
// says nothing about that publishing. A message received from Messages counts as acknowledged an
// instant after the receive, so a Sync right after the receive may not include it. Use Deliveries
// or All where that matters. Sync returns an error if the Options lack a Store or KeepSession.
func (s *Session) Sync(ctx context.Context) error {
	if s.settings.store == nil || !s.settings.kept {
		return link.BadOption("Sync", "needs a Store and KeepSession")
	}
	reply := make(chan error, 1)
	if !s.call(func(l *loop) { l.takeAcks(); l.outbox.sync(reply) }) {
		return s.life.closed()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
	}
	s.call(func(l *loop) { l.outbox.dropSync(reply) })
	select {
	case err := <-reply: // a ready result beats an ended context
		return err
	default:
		return gaveUp(ctx, errors.New("the Store has not finished its commit"))
	}
}
