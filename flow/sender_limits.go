package flow

import (
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Expiry is the time at which a publication expires, on the clock of the session and as the time of
// day, which a store needs. The zero value is never.
type Expiry struct {
	At   time.Duration
	Wall time.Time
}

// Expire ends the publications that have expired before they were transmitted (MQTT 5, section
// 3.3.2.3.3). A publication in flight does not end, since the broker may have it.
func (s *Sender[T]) Expire(now time.Duration, end func(Ended[T])) {
	if at := s.ExpiresAt(); at == 0 || now < at {
		return
	}
	s.expireAt = 0
	for i, e := range s.all {
		switch {
		case e.until == 0 || e.state != queued:
		case e.until <= now:
			end(s.end(i, frames.Success))
		default:
			s.expireBy(e.until)
		}
	}
}

// Evict ends the queued publications that were accepted first, until there is room for m. A
// publication that may have been sent stays. Evict reports whether there is room; for a message
// above the limit in bytes there is none, and nothing ends.
func (s *Sender[T]) Evict(m *frames.Message, end func(Ended[T])) bool {
	if s.limit.Bytes > 0 && Cost(m) > s.limit.Bytes {
		return false
	}
	for !s.Fits(m) {
		i := s.evictable()
		if i == 0 {
			return false
		}
		end(s.end(s.split(i, 1), frames.Success))
	}
	return true
}

// First returns the first message that Next would return, when it expires (0: never), and whether
// it may have been transmitted on an earlier connection. It returns nil if there is none, or if a
// PUBREL is next.
func (s *Sender[T]) First() (m *frames.Message, until time.Duration, transmitted bool) {
	if s.cursor == 0 || s.entries[s.cursor].state == released {
		return nil, 0, false
	}
	e := &s.entries[s.cursor]
	return e.first(), e.until, e.sent == sentNow
}

// Drop ends the publication whose message First has returned, since the connection cannot carry it.
func (s *Sender[T]) Drop() Ended[T] {
	return s.end(s.split(s.cursor, 1), frames.Success)
}

// Lower lowers the QoS of the publication whose message First has returned, since the broker takes
// no higher one. A publication that may have been transmitted keeps its identifier, so it cannot be
// lowered to QoS 0. The store keeps the message with its first QoS.
func (s *Sender[T]) Lower(q frames.QoS) {
	e := &s.entries[s.split(s.cursor, 1)]
	if q == frames.AtMostOnce {
		if e.state == published { // not sent, or its session was lost
			s.unassign(e)
		}
		if !s.journal.withdraw(e.seq) {
			s.journal.progress(Completed, e.seq, 0)
		}
	}
	e.lone[0], e.run = *e.first(), nil // the QoS is lowered in a copy
	e.lone[0].QoS, e.lowered = q, true
}
