package stream

import (
	"context"
	"slices"
)

// Flush waits until no publication is queued or in flight.
func (s *Session) Flush(ctx context.Context) error {
	empty := make(chan struct{})
	if !s.call(func(l *loop) { l.flushers = append(l.flushers, empty) }) {
		return s.endedBy()
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	case <-s.ending:
	}
	select {
	case <-empty:
		return nil
	default:
	}
	s.call(func(l *loop) { l.dropFlusher(empty) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.endedBy()
}

func (l *loop) checkFlushers() {
	if len(l.flushers) == 0 || l.sender.Len() > 0 || len(l.waiting.row) > 0 {
		return
	}
	for _, empty := range l.flushers {
		close(empty)
	}
	l.flushers = nil
}

func (l *loop) dropFlusher(empty chan struct{}) {
	l.flushers = slices.DeleteFunc(l.flushers, func(f chan struct{}) bool { return f == empty })
}

// Sync waits until the Store has what came before the call: the QoS 1 and 2
// publishings that were sent on Publishes and have not ended, and the QoS 2
// deliveries that were settled. From then on a durable Store keeps them whatever
// becomes of the process; the acceptance of a publishing by itself promises no
// more than that it is in memory. Many calls at once share one commit.
//
// An error of the Store says that what was not in it yet is not. A publishing
// that the Store has refused has ended, so a later Sync without error says
// nothing of it: its Receipt does. A hand-off of Messages counts as settled an
// instant after the receive, so a Sync right behind it may miss it: use
// Deliveries or All where that matters. Without a Store and KeepSession Sync is
// an error.
func (s *Session) Sync(ctx context.Context) error {
	if s.options.Store == nil || !s.options.KeepSession {
		return badOption("Sync", "needs a Store and KeepSession")
	}
	reply := make(chan error, 1)
	if !s.call(func(l *loop) { l.sync(reply) }) {
		return s.endedBy()
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

// A syncer is one call of Sync: it waits for the commit of a batch.
type syncer struct {
	batch uint64
	reply chan<- error // cap 1
}

func (l *loop) sync(reply chan<- error) {
	l.settle()
	switch {
	case l.journal.Len() > 0:
		l.syncers = append(l.syncers, syncer{l.next.number, reply})
	case len(l.owed) > 0, l.writing && len(l.inHand.changes) > 0:
		l.syncers = append(l.syncers, syncer{l.next.number - 1, reply})
	default:
		reply <- nil
	}
}

// synced answers the calls of Sync that wait for a batch up to number.
func (l *loop) synced(number uint64, err error) {
	done := 0
	for done < len(l.syncers) && l.syncers[done].batch <= number {
		l.syncers[done].reply <- err
		done++
	}
	l.syncers = slices.Delete(l.syncers, 0, done)
}
