package flow

import (
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Outcome is what an acknowledgment meant.
type Outcome byte

const (
	Ignored    Outcome = iota // it concerns nothing in flight
	Confirmed                 // the publication has ended well
	Release                   // PUBREL is to be sent for the identifier
	Downgraded                // PUBACK for QoS 2: the broker took it at QoS 1; the publication has ended, not as it was asked
	Violation                 // the ack does not fit the exchange: the connection must be closed [MQTT-4.8.0-1]
)

// Acknowledge takes a PUBACK, PUBREC or PUBCOMP; taken is the last batch that was
// handed to the writer, since no ack can be for what waits in a later one. Ended
// has meaning with Confirmed and Downgraded.
func (s *Sender[T]) Acknowledge(kind frames.Type, id uint16, handed uint64, now time.Duration) (Ended[T], Outcome) {
	i, ok := s.ids.Lookup(id)
	if !ok || i <= 0 || !s.entries[i].sentBy(handed) { // unknown, a SUBSCRIBE's or UNSUBSCRIBE's, or not sent yet
		if kind == frames.TypePubrec {
			return Ended[T]{}, Release // the broker waits for it, whatever we know
		}
		return Ended[T]{}, Ignored
	}
	e := &s.entries[i]
	switch {
	case kind == frames.TypePuback && e.state == published:
		outcome := Confirmed
		if e.message.QoS == frames.ExactlyOnce {
			outcome = Downgraded
		}
		return s.finish(i), outcome
	case kind == frames.TypePubrec && e.message.QoS == frames.ExactlyOnce:
		if e.state == published {
			e.state, e.sent, e.attempts = released, true, 0
			s.schedule(e, now)
			s.journal.record(Change{Kind: Released, Seq: e.seq})
		}
		return Ended[T]{}, Release // one PUBREL for each PUBREC, in their order [MQTT-4.6.0-4]
	case kind == frames.TypePubcomp && e.state == released:
		return s.finish(i), Confirmed
	}
	return Ended[T]{}, Violation
}

// left reports whether the publication may be known to the broker.
func (e *entry[T]) sentBy(handed uint64) bool { return e.sent || e.batch != 0 && e.batch <= handed }

// Lost takes note that the connection is gone; taken is the last batch that was
// handed to its writer. What later batches held was never sent. With keep the
// publications in flight stay, to be sent again; without, they end, since a
// clean session goes with its connection [MQTT-3.1.2-6]. QoS 0 that was handed
// over ends in either case: it is never sent twice [MQTT-4.3.1-1].
func (s *Sender[T]) Lost(handed uint64, keep bool, end func(Ended[T])) {
	s.Written(handed, end)
	s.requeueUnwritten()
	for i := s.publications.Head; i != 0; {
		next := s.links[i].Next
		e := &s.entries[i]
		if e.batch != 0 && e.batch <= handed {
			e.sent = true
		}
		switch {
		case e.state == queued:
		case e.message.QoS == frames.AtMostOnce:
			e.state = queued
			s.queued += e.run.Len()
		case keep:
		case e.sent:
			end(s.finish(i))
			i = next
			continue
		default:
			s.ids.Release(e.id)
			s.inFlight--
			s.queued++
			e.id, e.state = 0, queued
			s.journal.record(Change{Kind: Assigned, Seq: e.seq})
		}
		e.batch = 0
		i = next
	}
	s.outstanding = 0
	s.cursor = s.publications.Head
}

// sink puts what is afloat back in line, each at its place.
func (s *Sender[T]) requeueUnwritten() {
	at := s.publications.Tail
	for i := s.unwritten.Tail; i != 0; i = s.unwritten.Tail {
		s.unwritten.Remove(s.links, i)
		for at != 0 && s.entries[at].seq > s.entries[i].seq {
			at = s.links[at].Prev
		}
		before := s.publications.Head
		if at != 0 {
			before = s.links[at].Next
		}
		s.publications.InsertBefore(s.links, i, before)
	}
}

// SessionLost takes note that the broker has no session for us: what was in
// flight goes out as new, except that a QoS 2 message past its PUBREC is
// finished with PUBREL, since the broker has had it.
func (s *Sender[T]) SessionLost() {
	for i := s.publications.Head; i != 0; i = s.links[i].Next {
		if e := &s.entries[i]; e.state == published {
			e.sent = false
		}
	}
}

func (s *Sender[T]) schedule(e *entry[T], now time.Duration) {
	switch {
	case s.retry == nil:
	case e.state == released:
		e.due = now + s.retry.Control(int(e.attempts))
	default:
		e.due = now + s.retry.Publish(len(e.message.Payload), int(e.attempts))
	}
}

// Overdue takes every packet whose ack is overdue at now as part of batch and
// returns when the next one will be; false when none is waited for.
func (s *Sender[T]) Overdue(batch uint64, now time.Duration, send func(Outgoing)) (next time.Duration, ok bool) {
	if s.retry == nil {
		return 0, false
	}
	for i := s.publications.Head; i != 0 && i != s.cursor; i = s.links[i].Next {
		e := &s.entries[i]
		if e.due <= now {
			if e.batch < batch { // else it waits in batch itself, and has not been sent
				e.sent, e.batch = true, batch
				e.attempts = min(e.attempts+1, 63)
				send(e.packet())
			}
			s.schedule(e, now)
		}
		if !ok || e.due < next {
			next, ok = e.due, true
		}
	}
	return next, ok
}
