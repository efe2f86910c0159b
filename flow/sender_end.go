package flow

import "github.com/go-millrace/mqtt/frames"

// This file ends publications for all reasons other than an acknowledgment, and has the code common
// to all ends.

// Withdraw takes a publication, or a part of a run, from its owner. If the publication was not
// sent, it ends and gone is true. Otherwise the exchange continues without the owner, with a copy
// of the payload. The result ok is false if the publication had ended before the call.
func (s *Sender[T]) Withdraw(h Handle) (gone, ok bool) {
	if _, ok := s.Find(h); !ok {
		return false, false
	}
	e := &s.entries[h.slot]
	if e.state == queued {
		s.remove(h.slot)
		return true, true
	}
	var none T
	e.owner = none
	e.message = e.message.Clone() // also at QoS 0, since Lost requeues a message whose batch never reached the writer
	e.run = e.run.clone()
	return false, true
}

// remove ends a publication that is queued.
func (s *Sender[T]) remove(i int32) Ended[T] {
	e := &s.entries[i]
	if e.message.QoS > frames.AtMostOnce && s.journal.withdraw(e.seq) {
		ended := e.ended()
		s.unlink(i) // the store never hears of it
		return ended
	}
	return s.finish(i)
}

// CommitFailed handles a failed commit: it ends the publications accepted by changes. They were
// never sent, since the session commits before it sends. The store may hold them despite the error,
// so CommitFailed replaces each Accepted in changes by Completed. The caller must then commit
// changes again.
func (s *Sender[T]) CommitFailed(changes []Change, end func(Ended[T])) {
	accepted := make(map[uint64]bool)
	for i, c := range changes {
		if c.Kind == Accepted && !s.reserved.holds(c.Seq) {
			accepted[c.Seq] = true
			changes[i] = Change{Kind: Completed, Seq: c.Seq}
		}
	}
	for i := s.publications.Head; i != 0 && len(accepted) > 0; {
		next := s.links[i].Next
		if accepted[s.entries[i].seq] {
			end(s.finish(i))
		}
		i = next
	}
	s.journal.removePublications(accepted)
}

// EndJournaled ends the publications whose Accepted is in the journal and not committed. The store
// does not know them, so all their changes are removed from the journal.
func (s *Sender[T]) EndJournaled(end func(Ended[T])) { s.CommitFailed(s.journal.changes, end) }

// Drain ends all publications after Lost, in order of acceptance. The argument sent of end reports
// whether the publication may have left this process. Drain writes nothing to the journal, so the
// store keeps its content.
func (s *Sender[T]) Drain(end func(e Ended[T], sent bool)) {
	for i := s.publications.Head; i != 0; i = s.publications.Head {
		e := &s.entries[i]
		ended, sent := e.ended(), e.state != queued
		s.unlink(i)
		end(ended, sent)
	}
}

// finish removes publication i from all state and from the store.
func (s *Sender[T]) finish(i int32) Ended[T] { return s.finishAs(i, frames.Success) }

// finishAs is finish for an ack with a reason code.
func (s *Sender[T]) finishAs(i int32, code frames.ReasonCode) (ended Ended[T]) {
	e := &s.entries[i]
	ended = e.ended()
	ended.Code = code
	if e.message.QoS > frames.AtMostOnce {
		s.journal.progress(Completed, e.seq, 0)
	}
	s.unlink(i)
	return ended
}

func (e *entry[T]) ended() Ended[T] {
	return Ended[T]{
		Message: e.message, ID: e.id, Lowered: e.lowered, Sent: e.sent || e.earlier, Owner: e.owner, At: e.at, Run: e.run,
	}
}

// unlink removes publication i from the lists and the counts.
func (s *Sender[T]) unlink(i int32) {
	e := &s.entries[i]
	s.runExtra -= e.run.Len() - 1
	switch {
	case e.state == queued:
		s.dequeue(e)
	case e.message.QoS > frames.AtMostOnce:
		s.inFlight--
		s.ids.Release(e.id)
		if e.batch != 0 {
			s.outstanding--
		}
	}
	if e.message.QoS == frames.AtMostOnce && e.state == published {
		s.unwritten.Remove(s.links, i)
	} else {
		s.leave(i)
	}
	s.freeSlot(i)
}

// leave removes i from publications.
func (s *Sender[T]) leave(i int32) {
	next := s.links[i].Next
	if s.cursor == i {
		s.cursor = next
	}
	if s.queueHead == i {
		s.queueHead = next
	}
	s.publications.Remove(s.links, i)
}
