package stream

import "context"

// Reauthenticate authenticates the client anew on the present connection, with a new Exchange of
// Options.V5.Authenticate (MQTT 5, section 4.12.1). It waits for the result. While it is under way
// nothing else is sent, which takes at most Options.ConnectTimeout or half the keep alive,
// whichever is shorter. Time in which reading is paused for consumers does not count, and PINGREQ
// keeps the connection meanwhile. If it fails, the connection is closed, and the client connects
// again. An Exchange with a method Expires() time.Time is renewed by itself at nine tenths of that
// time.
func (s *Session) Reauthenticate(ctx context.Context) error {
	reply := make(chan error, 1)
	if !s.call(func(l *loop) {
		if err := l.link.lost(); err != nil {
			reply <- err
			return
		}
		l.link.reauth.join(reply, l.clock.now, l.link.terms.keepAlive)
	}) {
		return s.life.closed()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
	case <-s.life.ending.passed():
	}
	s.call(func(l *loop) { l.link.reauth.leave(reply) })
	select {
	case err := <-reply: // a ready result beats an ended context
		return err
	default:
	}
	if ctx.Err() != nil {
		return gaveUp(ctx, s.states.reason("the broker has not answered AUTH"))
	}
	return s.life.closed()
}

// authenticated passes the result of code of the user in a re-authentication to the loop.
func (s *Session) authenticated(number int, r authResult, err error) {
	s.call(func(l *loop) {
		if l.link.reauth.quiet() {
			l.link.keepAlive.HeldUp(l.clock.now) // a PINGREQ that was not written before
		}
		if err := l.link.reauth.result(number, r, err, l.link.terms.maxPacket, l.clock.now); err != nil {
			l.link.fail(err)
		}
	})
}
