package flow

import (
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Outcome is the effect of an acknowledgment.
type Outcome byte

const (
	Ignored    Outcome = iota // the ack matches no publication in flight
	Confirmed                 // the publication has completed at its QoS
	Release                   // PUBREL must be sent for the identifier
	Downgraded                // PUBACK came for a QoS 2 publication, which has completed at QoS 1
	Violation                 // the ack does not fit the state; close the connection [MQTT-4.8.0-1]

	// MQTT 5.
	Refused // the broker refused the publication, which has ended
	// The broker does not know the identifier of a PUBREL that was sent once; the publication has
	// ended.
	Mismatched
	ReleaseUnknown // PUBREL with PacketIdentifierNotFound must be sent for the identifier
)

// Acknowledge handles a PUBACK, PUBREC or PUBCOMP with its reason code, which is Success before
// MQTT 5. The parameter handed is the number of the last batch passed to the writer; later batches
// were not sent, so no ack can be for a publication in them. The returned Ended is valid if the
// Outcome is Confirmed, Downgraded, Refused or Mismatched.
func (s *Sender[T]) Acknowledge(kind frames.Type, id uint16, code frames.ReasonCode, handed uint64, now time.Duration) (Ended[T], Outcome) {
	i, ok := s.window.slot(id)
	if !ok || !s.queue.at(i).sentBy(handed) { // no publication has it, or not sent yet
		if kind == frames.TypePubrec && code < frames.UnspecifiedError {
			// The broker waits for PUBREL, even if the identifier is unknown here.
			return Ended[T]{}, ReleaseUnknown
		}
		return Ended[T]{}, Ignored
	}
	e := s.queue.at(i)
	refused := code >= frames.UnspecifiedError
	switch {
	case kind == frames.TypePuback && e.state == published:
		outcome := Confirmed
		switch {
		case refused:
			outcome = Refused
		case e.first().QoS == frames.ExactlyOnce:
			outcome = Downgraded
		}
		return s.end(i, code), outcome
	case kind == frames.TypePubrec && refused && e.first().QoS == frames.ExactlyOnce:
		if e.state == released {
			return Ended[T]{}, Ignored // PUBCOMP ends it, for the PUBREC before
		}
		return s.end(i, code), Refused // without PUBREL [MQTT-4.3.3-4]
	case kind == frames.TypePubrec && e.first().QoS == frames.ExactlyOnce:
		if e.state == published {
			e.state, e.sent, e.attempts, e.code = released, sentNow, 0, code
			s.schedule(e, now)
			s.journal.progress(Released, e.seq, 0)
		}
		return Ended[T]{}, Release // one PUBREL for each PUBREC, in the same order [MQTT-4.6.0-4]
	case kind == frames.TypePubcomp && e.state == released:
		// A broker that does not know the identifier has finished the exchange, if PUBREL was sent
		// before (section 3.7.2.1).
		if refused && !e.resumed {
			return s.end(i, code), Mismatched
		}
		return s.end(i, e.code), Confirmed
	}
	return Ended[T]{}, Violation
}

// sentBy reports whether the broker may have the publication, because it was sent before or is in a
// batch up to handed.
func (e *entry[T]) sentBy(handed uint64) bool {
	return e.sent == sentNow || e.batch != 0 && e.batch <= handed
}

// Lost resets per-connection state. The parameter handed is the number of the last batch passed to
// the writer of the lost connection; later batches were never sent. If keep is set, publications in
// flight stay and are sent again. Otherwise they end, since a clean session ends with its
// connection [MQTT-3.1.2-6]. QoS 0 publications in a batch up to handed always end, since they are
// never sent twice [MQTT-4.3.1-1].
func (s *Sender[T]) Lost(handed uint64, keep bool, end func(Ended[T])) {
	s.Written(handed, end)
	s.queue.putBack(&s.unwritten)
	s.window.reset()
	for i, e := range s.queue.all {
		if e.batch != 0 && e.batch <= handed {
			e.sent = sentNow
		}
		e.batch, e.resumed = 0, e.state == released
		switch {
		case e.state == queued, keep:
		case e.sent == sentNow:
			end(s.end(i, frames.Success))
		default:
			s.unassign(e)
			s.journal.progress(Assigned, e.seq, 0)
		}
	}
	s.queue.rewind()
}

// unassign takes the identifier from a publication that was not sent.
func (s *Sender[T]) unassign(e *entry[T]) {
	s.window.freeID(e.id, false)
	s.queue.stop(e)
}

// SessionLost handles a broker that has no session for this client. Call it before the first Next
// of a connection. Publications in flight are sent as new publications. A QoS 2 publication whose
// PUBREC was received ends: PUBREL would be answered with PUBCOMP, even though the broker has lost
// the message.
func (s *Sender[T]) SessionLost(end func(Ended[T])) {
	s.freeReserved()
	for i, e := range s.queue.all {
		switch e.state {
		case published:
			e.sent = min(e.sent, sentEarlier)
		case released:
			end(s.end(i, frames.Success))
		}
	}
}

func (s *Sender[T]) schedule(e *entry[T], now time.Duration) {
	switch {
	case s.retry == nil:
	case e.state == released:
		e.due = now + s.retry.Control(int(e.attempts))
	default:
		e.due = now + s.retry.Publish(len(e.first().Payload), int(e.attempts))
	}
}

// Overdue adds every packet whose ack is overdue at now to batch and passes it to send. It returns
// the time at which the next ack will be overdue, or false when no ack is awaited.
func (s *Sender[T]) Overdue(batch uint64, now time.Duration, send func(Outgoing)) (next time.Duration, ok bool) {
	if s.retry == nil {
		return 0, false
	}
	for _, e := range s.queue.transmitted {
		if e.due <= now {
			if e.batch < batch { // otherwise the packet is in this batch already, and not sent
				e.sent, e.batch, e.resumed = sentNow, batch, e.state == released
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
