package stream

import (
	"context"

	"github.com/go-millrace/mqtt/stream/internal/link"
)

// Flush waits until no publication is queued or in flight.
func (s *Session) Flush(ctx context.Context) error {
	flush := make(chan struct{})
	if !s.call(func(l *loop) { l.intake.flushes = append(l.intake.flushes, flush) }) {
		return s.life.closed()
	}
	select {
	case <-flush:
		return nil
	case <-ctx.Done():
	case <-s.life.ending:
	}
	select {
	case <-flush:
		return nil
	default:
	}
	s.call(func(l *loop) { l.intake.dropFlush(flush) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.life.closed()
}

// Sync waits until the Store has everything from before the call: the QoS 1 and 2 publishings that
// were sent on Publishes and have not ended, and the QoS 2 deliveries that were acknowledged. From
// then on a durable Store keeps them even if the process dies; the acceptance of a publishing by
// itself promises only that it is in memory. Many calls at once share one commit.
//
// An error of the Store says that it does not have the changes that it did not have before. A
// publishing that the Store has refused has ended, so a later Sync without error says nothing of
// it: its Receipt does. A hand-off of Messages counts as acknowledged an instant after the receive,
// so a Sync right behind it may miss it: use Deliveries or All where that matters. Without a Store
// and KeepSession Sync is an error.
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
	select {
	case err := <-reply: // a ready result beats an ended context
		return err
	default:
		return context.Cause(ctx)
	}
}
