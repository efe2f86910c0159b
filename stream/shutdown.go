package stream

import (
	"context"
	"errors"
	"fmt"
)

// Shutdown ends the session in steps. It closes the receive channels, takes back the messages in
// their buffers, waits until consumers have acknowledged every message that they received, stops
// accepting publishings, waits until every accepted publishing has its Receipt, sends the last acks
// and DISCONNECT, and closes the session. When ctx ends first, Shutdown closes the session at once,
// and the error says how many publications and deliveries were left unfinished. With KeepSession
// and a Store the next session gets the unfinished publications from the Store and the unfinished
// deliveries from the broker. While offline, Shutdown waits for publications until ctx ends. With a
// Store and KeepSession, Sync and Close end at once there, and lose no message at QoS 1 or 2.
func (s *Session) Shutdown(ctx context.Context) error {
	s.call(func(l *loop) {
		l.ending.advance(settling)
		l.inboxes.stopAll()
		l.inboxes.recallClosed()
	})
	select {
	case <-s.life.done.passed():
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

// ShutdownWith is Shutdown with another end of the connection (MQTT 5, section 3.14). EndSession,
// Expiry, Reason and User need MQTT 5: on an older connection, or while offline, the error says so
// and the session goes on. If the connection is lost later, so that no DISCONNECT can be sent, the
// session ends, and the error says so.
func (s *Session) ShutdownWith(ctx context.Context, f Farewell) error {
	if err := f.check(s.settings.kept); err != nil {
		return err
	}
	reply := make(chan error, 1)
	if !s.call(func(l *loop) {
		err := f.fits(&l.link.terms, l.link.lost())
		if err == nil {
			l.link.farewell = &f
		}
		reply <- err
	}) {
		return s.Close()
	}
	if err := <-reply; err != nil {
		return err
	}
	return s.Shutdown(ctx)
}

// Close ends the session at once. It takes the acks of consumers, commits the changes of the
// session to the Store, writes the packets that are already encoded, then DISCONNECT, and waits up
// to one second for the broker to close the connection. Every publication gets its Receipt, and
// when Close returns, every goroutine of the session is gone. Close can be called any number of
// times. Its error names everything that failed.
//
// If no channel accepts a Receipt for a second, Close drops the Receipts that are left, and its
// error says how many. Close also waits for a second each, and no longer, for a Decoder, for an
// Encoder, for a connection attempt (DialContext and the hooks of Options), for the log handler and
// for the functions Delivered and Warned of an Observer; its error names those that still run. So
// any of them may call Close. Close has no such limit for Store.Commit, since a Receipt must not
// say that a message is stored when it is not.
func (s *Session) Close() error {
	s.life.close()
	<-s.life.done.passed()
	return s.life.closeErr
}

// Stats returns the counters and gauges of the session. It does not wait for the end of the
// session: while the session ends, it returns their values from the beginning of the end, and
// afterwards their last values.
func (s *Session) Stats() Stats {
	var st Stats
	if !s.call(func(l *loop) { st = l.snapshot() }) {
		return *s.life.last.Load()
	}
	return st
}
