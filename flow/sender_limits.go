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

// Limit sets the limits of the queue. Call it before the first Restore and Add. The Sender accepts
// everything that is added; the caller asks Room or Fits first.
func (s *Sender[T]) Limit(l QueueLimit) { s.queue.setLimit(l) }

// Room returns the room in the queue.
func (s *Sender[T]) Room() Room { return s.queue.room() }

// Fits reports whether the queue has room for m.
func (s *Sender[T]) Fits(m *frames.Message) bool {
	r := s.queue.room()
	return r.Take(m)
}

// Relaxed reports whether no more than half of the queue's limits is in use.
func (s *Sender[T]) Relaxed() bool { return s.queue.relaxed() }

// Queued returns how many publications await their first transmission.
func (s *Sender[T]) Queued() int { return s.queue.waiting() }

// QueuedBytes returns the bytes of these publications, 0 if their bytes are not limited.
func (s *Sender[T]) QueuedBytes() int64 { return s.queue.waitingBytes() }

// IsQueued reports whether a publication awaits its first transmission.
func (s *Sender[T]) IsQueued(h Handle) bool {
	e := s.queue.find(h)
	return e != nil && e.state == queued
}

// OldestQueued returns the sequence number of the first publication that awaits its first
// transmission, and the time when it was accepted. The number is 0 if there is none.
func (s *Sender[T]) OldestQueued() (seq uint64, at time.Duration) {
	if i := s.queue.oldest(); i != 0 {
		e := s.queue.at(i)
		return e.seq, e.at
	}
	return 0, 0
}

// Expire ends the publications that have expired before they were transmitted (MQTT 5, section
// 3.3.2.3.3). A publication in flight does not end, since the broker may have it.
func (s *Sender[T]) Expire(now time.Duration, end func(Ended[T])) {
	s.queue.expired(now, func(i int32) { end(s.end(i, frames.Success)) })
}

// ExpiresAt returns the time at which Expire is to be called next, 0 for never.
func (s *Sender[T]) ExpiresAt() time.Duration { return s.queue.expiresAt() }

// Evict ends the queued publications that were accepted first, until there is room for m. A
// publication that may have been sent stays. Evict reports whether there is room; for a message
// above the limit in bytes there is none, and nothing ends.
func (s *Sender[T]) Evict(m *frames.Message, end func(Ended[T])) bool {
	if s.queue.tooLarge(m) {
		return false
	}
	for !s.Fits(m) {
		i := s.queue.evictable()
		if i == 0 {
			return false
		}
		end(s.end(s.queue.split(i, 1), frames.Success))
	}
	return true
}

// First returns the first message that Next would return, when it expires (0: never), and whether
// it may have been transmitted on an earlier connection. It returns nil if there is none, or if a
// PUBREL is next.
func (s *Sender[T]) First() (m *frames.Message, until time.Duration, transmitted bool) {
	i := s.queue.next()
	if i == 0 {
		return nil, 0, false
	}
	e := s.queue.at(i)
	if e.state == released {
		return nil, 0, false
	}
	return e.first(), e.until, e.sent == sentNow
}

// Drop ends the publication whose message First has returned, since the connection cannot carry it.
func (s *Sender[T]) Drop() Ended[T] {
	return s.end(s.queue.split(s.queue.next(), 1), frames.Success)
}

// Lower lowers the QoS of the publication whose message First has returned, since the broker takes
// no higher one. A publication that may have been transmitted keeps its identifier, so it cannot be
// lowered to QoS 0. The store keeps the message with its first QoS.
func (s *Sender[T]) Lower(q frames.QoS) {
	e := s.queue.at(s.queue.split(s.queue.next(), 1))
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
