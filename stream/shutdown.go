package stream

import (
	"context"
	"errors"
	"fmt"
)

// Shutdown ends the session in order: it stops handing out messages (the receive channels close),
// waits until those handed out are acknowledged, stops accepting publishings, waits until those
// accepted have ended, sends the last acks and DISCONNECT, and closes. When ctx ends first it
// closes at once, and the error says how many publications and deliveries were left; with
// KeepSession and a Store the next session finds them there, or at the broker.
func (s *Session) Shutdown(ctx context.Context) error {
	s.call(func(l *loop) {
		l.ending.advance(settling)
		l.inboxes.stopAll()
	})
	select {
	case <-s.life.done:
		return s.Close()
	case <-ctx.Done():
	}
	var left progress
	if !s.call(func(l *loop) { left = l.progress() }) {
		return s.Close()
	}
	err := fmt.Errorf("mqtt: Shutdown: %d publications and %d deliveries were left unfinished: %w",
		left.publications, left.deliveries, context.Cause(ctx))
	return errors.Join(err, s.Close())
}

// Close ends the session at once: encoded packets are written, DISCONNECT is sent, and the broker
// is given until a second has passed to read it and to close (it does so at once); all publications
// end with their Receipts, and every goroutine is gone when it returns. It can be called any number
// of times; the error names everything that failed.
//
// Receipts go to channels that take them; a channel that takes none for a second loses them, and
// the error says how many.
func (s *Session) Close() error {
	s.life.close()
	<-s.life.done
	return s.life.closeErr
}

// Stats returns the counters and gauges of the session. After its end it returns the last.
func (s *Session) Stats() Stats {
	var st Stats
	if !s.call(func(l *loop) { st = l.snapshot() }) {
		<-s.life.done
		return *s.life.last
	}
	return st
}
