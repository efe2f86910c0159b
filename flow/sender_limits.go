package flow

import (
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// This file ends publications that the connection cannot carry, and those that expire.

// Expiry is the time at which a publication expires, on the clock of the session and as the time of
// day, which a store needs. The zero value is never.
type Expiry struct {
	At   time.Duration
	Wall time.Time
}

func (s *Sender[T]) setExpiry(e *entry[T], at time.Duration) {
	if at == 0 {
		return
	}
	e.until = at
	s.expiring++
	s.expireBy(at)
}

// expireBy records that a queued publication expires at the time at; 0 is never.
func (s *Sender[T]) expireBy(at time.Duration) {
	if at != 0 && (s.expireAt == 0 || at < s.expireAt) {
		s.expireAt = at
	}
}

// ExpiresAt returns the time at which Expire is to be called next, 0 for never.
func (s *Sender[T]) ExpiresAt() time.Duration {
	if s.expiring == 0 {
		return 0
	}
	return s.expireAt
}

// Expire ends the publications that have expired before they were transmitted (MQTT 5, section
// 3.3.2.3.3). A publication in flight does not end, since the broker may have it.
func (s *Sender[T]) Expire(now time.Duration, end func(Ended[T])) {
	if at := s.ExpiresAt(); at == 0 || now < at {
		return
	}
	s.expireAt = 0
	for i := s.publications.Head; i != 0; {
		next := s.links[i].Next
		switch e := &s.entries[i]; {
		case e.until == 0 || e.state != queued:
		case e.until <= now:
			end(s.remove(i))
		default:
			s.expireBy(e.until)
		}
		i = next
	}
}

// First returns the message that Next or NextRun would transmit next as a PUBLISH, and whether it
// may have been transmitted on an earlier connection. It returns nil if there is none, or if a
// PUBREL is next.
func (s *Sender[T]) First() (m *frames.Message, sent bool) {
	if s.cursor == 0 {
		return nil, false
	}
	e := &s.entries[s.cursor]
	switch {
	case e.run != nil:
		return &e.run.Messages[0], false
	case e.state == released:
		return nil, false
	}
	return &e.message, e.sent
}

// FirstUntil returns when the message that First has returned expires, 0 for never.
func (s *Sender[T]) FirstUntil() time.Duration { return s.entries[s.cursor].until }

// Drop ends the publication whose message First has returned, since the connection cannot carry it.
func (s *Sender[T]) Drop() Ended[T] {
	i := s.cursor
	if s.entries[i].run != nil {
		i = s.split(i, 1)
	}
	if s.entries[i].state == queued {
		return s.remove(i)
	}
	return s.finish(i)
}

// Lower lowers the QoS of the publication whose message First has returned, since the broker takes
// no higher one. A publication that may have been transmitted keeps its identifier, so it cannot be
// lowered to QoS 0. The store keeps the message with its first QoS.
func (s *Sender[T]) Lower(q frames.QoS) {
	e := &s.entries[s.cursor]
	if q == frames.AtMostOnce {
		if e.state == published { // not sent, or its session was lost
			s.unassign(e)
		}
		if !s.journal.withdraw(e.seq) {
			s.journal.progress(Completed, e.seq, 0)
		}
	}
	e.message.QoS, e.lowered = q, true
}
