package flow

import (
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// Withdraw takes a run from its owner. If it was not sent, it ends and gone is true. Otherwise the
// exchange continues without the owner, with copies of the payloads. The result ok is false if the
// run had ended before the call.
func (s *Sender[T]) Withdraw(h Handle) (gone, ok bool) {
	e := s.queue.find(h)
	if e == nil {
		return false, false
	}
	if e.state == queued {
		s.end(h.slot, frames.Success)
		return true, true
	}
	var none T
	e.owner, e.run = none, slices.Clone(e.messages())
	for k, m := range e.run {
		// Also at QoS 0, since Lost puts messages back whose batch never reached the writer.
		e.run[k] = m.Clone()
	}
	e.lone[0] = frames.Message{}
	return false, true
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
	for i, e := range s.queue.all {
		if accepted[e.seq] { // and so all messages of the run, which were accepted together
			ended := e.ended()
			s.unlink(i)
			end(ended)
		}
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
	for i := s.queue.first(); i != 0; i = s.queue.first() {
		e := s.queue.at(i)
		ended, sent := e.ended(), e.state != queued
		s.unlink(i)
		end(ended, sent)
	}
}

// end ends the run in slot i with the reason code of an ack. If the publication is queued and its
// Accepted is still in the journal, the store gets no change for it.
func (s *Sender[T]) end(i int32, code frames.ReasonCode) (ended Ended[T]) {
	e := s.queue.at(i)
	ended = e.ended()
	ended.Code = code
	for seq := e.seq; seq < e.seq+uint64(e.len()) && !e.qos0(); seq++ {
		if e.state != queued || !s.journal.withdraw(seq) {
			s.journal.progress(Completed, seq, 0)
		}
	}
	s.unlink(i)
	return ended
}

// unlink removes the run in slot i from its owner and from the slab.
func (s *Sender[T]) unlink(i int32) {
	e := s.queue.at(i)
	switch {
	case e.state == queued:
		s.queue.remove(i)
	case e.qos0():
		s.unwritten.remove(&s.queue.slab, i)
	default:
		s.queue.remove(i)
		s.window.freeID(e.id, e.batch != 0)
	}
	s.queue.release(i)
}
