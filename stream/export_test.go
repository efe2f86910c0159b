package stream

// A LoneResult is the result of an attempt of a caller of Publish to write its message itself.
type LoneResult = loneResult

// The results of an attempt of a caller of Publish to write its message itself.
const (
	LoneAccepted = loneAccepted
	LoneWritten  = loneWritten
)

// WatchLone makes watch see the result of each attempt to write a message in place of the loop.
func (s *Session) WatchLone(watch func(loneResult)) {
	s.call(func(l *loop) {
		write := l.lone.write
		l.lone.write = func(call *publishCall) loneResult {
			r := write(call)
			watch(r)
			return r
		}
	})
}

// PingDue returns when the next PINGREQ is due, as a duration since the session began.
func (s *Session) PingDue() (at int64) {
	s.call(func(l *loop) { at = int64(l.link.keepAlive.SilentAt()) })
	return at
}
