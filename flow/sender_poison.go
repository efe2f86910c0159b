package flow

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// reserved are the identifiers of publications that were given up. The broker may hold a QoS 2
// message under such an identifier, and would take a new message for a copy of it. So the
// identifiers stay in use until the broker has lost the session.
//
// A store keeps each of them in a publication that no message can be: at QoS 1, with the
// identifier, without a topic. It takes the place of the message that was given up.
//
// Invariant: seq is not 0 exactly if there is a store, and is the place of the publication in it.
type reserved []reservation

type reservation struct {
	id  uint16
	seq uint64
}

// holds reports whether seq is the place of an identifier in the store.
func (r reserved) holds(seq uint64) bool {
	for _, x := range r {
		if x.seq == seq {
			return true
		}
	}
	return false
}

// GivenUp reports whether p only keeps the identifier of a publication that was given up.
func (p *Publication) GivenUp() bool {
	return p.Message.Topic == "" && p.Message.QoS == frames.AtLeastOnce && p.ID != 0 && !p.Released
}

// Suspect returns the sequence number of the oldest publication, if it is of QoS 1 or 2 and was
// transmitted on this connection in a batch up to reached; else 0.
func (s *Sender[T]) Suspect(reached uint64) (seq uint64) {
	i := s.queue.first()
	if i == 0 {
		return 0
	}
	e := s.queue.at(i)
	if e.qos0() || e.batch == 0 || e.batch > reached {
		return 0
	}
	return e.seq
}

// GiveUp ends the oldest publication, if it has the sequence number seq and its PUBLISH awaits an
// ack, and reserves its identifier. It returns false for a publication past PUBREC, which is never
// given up.
func (s *Sender[T]) GiveUp(seq uint64) (ended Ended[T], ok bool) {
	i := s.queue.first()
	if i == 0 {
		return ended, false
	}
	e := s.queue.at(i)
	if e.seq != seq || e.state != published || e.qos0() {
		return ended, false
	}
	ended = s.end(i, frames.Success)
	s.window.reserve(ended.ID)
	place := uint64(0)
	if s.journal != nil {
		s.seq++
		place = s.seq
		s.journal.record(Change{Kind: Accepted, Seq: place, Message: frames.Message{QoS: frames.AtLeastOnce}})
		s.journal.progress(Assigned, place, ended.ID)
	}
	s.reserve(ended.ID, place)
	return ended, true
}

func (s *Sender[T]) reserve(id uint16, seq uint64) {
	s.reserved = append(s.reserved, reservation{id, seq})
}

// restoreGivenUp is Restore for a publication that was given up.
func (s *Sender[T]) restoreGivenUp(p *Publication) bool {
	if p.Seq <= s.seq || !s.window.reserve(p.ID) {
		return false
	}
	s.seq = p.Seq
	s.reserve(p.ID, p.Seq)
	return true
}

// freeReserved frees the identifiers of publications that were given up, since the broker has lost
// the session.
func (s *Sender[T]) freeReserved() {
	for _, r := range s.reserved {
		s.window.release(r.id)
		s.journal.progress(Completed, r.seq, 0)
	}
	s.reserved = slices.Delete(s.reserved, 0, len(s.reserved))
}
