package flow

import (
	"time"

	"github.com/go-millrace/mqtt/flow/list"
	"github.com/go-millrace/mqtt/frames"
)

// Sender keeps the publications of one session from acceptance to end, in the
// order in which they were accepted, and lets at most a window of QoS 1 and 2
// publications be outstanding on a connection. T is what the owner wants back
// with the end of each publication.
//
// Every publication that Add or AddRun took ends exactly once: by Acknowledge,
// Written, Withdraw, Lost, CommitFailed, EndJournaled or Drain.
type Sender[T any] struct {
	window  int
	ids     *Identifiers
	retry   *Retry // nil: a live connection is trusted
	journal *Journal

	// The slab of publications and rows, and its links beside it. Slot 0 stays
	// unused, free lists the slots that can be used again.
	entries []entry[T]
	links   []list.Links
	free    []int32

	// Every publication that has not ended is in line, in order of acceptance,
	// or afloat: QoS 0, in a batch whose write has not been confirmed. What is
	// in front of cursor was transmitted on this connection.
	publications list.List
	cursor       int32
	unwritten    list.List

	seq         uint64 // the publication accepted last
	queued      int    // accepted, without a part in the exchange yet
	runExtra    int    // publications that rows hold beyond the first of each
	inFlight    int    // QoS 1 and 2 that hold an identifier
	outstanding int    // of those, the ones transmitted on this connection
}

type entry[T any] struct {
	message frames.Message
	run     *Run // in place of message
	owner   T

	seq   uint64        // of a row: that of its first
	batch uint64        // of its last transmission on this connection; 0: none yet
	due   time.Duration // with Retry: when to send it again

	id       uint16
	attempts uint8
	state    state
	sent     bool // it may have left this process: DUP when it is sent again
}

type state byte

const (
	queued    state = iota
	published       // PUBLISH is what an ack is awaited for, or QoS 0 afloat
	released        // PUBREC was received: PUBREL is what an ack is awaited for
)

// NewSender returns an empty sender for window publications in flight. retry
// and journal may be nil.
func NewSender[T any](window int, ids *Identifiers, retry *Retry, journal *Journal) *Sender[T] {
	return &Sender[T]{
		window: window, ids: ids, retry: retry, journal: journal,
	}
}

// SetWindow sets the window of the connection that begins, at least 1. A window below the number of
// outstanding publications sends no further one until enough of them are acknowledged.
func (s *Sender[T]) SetWindow(n int) { s.window = n }

// Handle names a publication that has not ended, or a part of a row until NextRun
// takes from it.
type Handle struct {
	slot int32
	seq  uint64
}

// Ended is a publication at its end, or a part of a row.
type Ended[T any] struct {
	Message frames.Message
	ID      uint16 // 0 when it never had one
	Owner   T
	Run     *Run // in place of Message, when AddRun took it
}

// Add accepts m at the end of the line.
func (s *Sender[T]) Add(m frames.Message, owner T) Handle {
	s.seq++
	i := s.allocSlot()
	e := &s.entries[i]
	e.message, e.owner, e.seq = m, owner, s.seq
	s.enqueue(i)
	s.queued++
	if s.journal != nil && m.QoS > frames.AtMostOnce {
		// A copy: Withdraw may give the payload back before the change is committed.
		s.journal.record(Change{Kind: Accepted, Seq: e.seq, Message: m.Clone()})
	}
	return Handle{slot: i, seq: e.seq}
}

// Restore takes a publication out of a store, in the order of the snapshot and
// before the first Add. It reports false, and takes nothing, for one that a
// sound store never gives: its identifier or its place is taken, or its state
// is none that its QoS has.
func (s *Sender[T]) Restore(p Publication, owner T) bool {
	qos := p.Message.QoS
	if qos != frames.AtLeastOnce && qos != frames.ExactlyOnce || p.Seq <= s.seq {
		return false
	}
	if p.Released && (qos != frames.ExactlyOnce || p.ID == 0) {
		return false
	}
	i := s.allocSlot()
	if p.ID != 0 && !s.ids.Claim(p.ID, i) {
		s.freeSlot(i)
		return false
	}
	e := &s.entries[i]
	e.message, e.owner, e.seq, e.id = p.Message, owner, p.Seq, p.ID
	s.seq = p.Seq
	switch {
	case p.ID == 0:
		s.queued++
	default:
		e.state, e.sent = published, true
		if p.Released {
			e.state = released
		}
		s.inFlight++
	}
	s.enqueue(i)
	return true
}

func (s *Sender[T]) enqueue(i int32) {
	s.publications.PushBack(s.links, i)
	if s.cursor == 0 {
		s.cursor = i
	}
}

// Outgoing is a packet to transmit now: a PUBLISH, or the PUBREL of ID.
type Outgoing struct {
	Type    frames.Type
	Publish frames.Publish
}

// Next returns what is to be transmitted next, which must not be a row, and takes it
// as part of batch, a number that rises from 1; false when the window is full or
// nothing waits.
// The order is that of acceptance, for what is sent again too [MQTT-4.6.0-1].
func (s *Sender[T]) Next(batch uint64, now time.Duration) (Outgoing, bool) {
	i := s.cursor
	if i == 0 {
		return Outgoing{}, false
	}
	e := &s.entries[i]
	if e.message.QoS == frames.AtMostOnce {
		s.transmitQoS0(i, batch)
		return Outgoing{Type: frames.TypePublish, Publish: frames.Publish{Message: e.message}}, true
	}
	if s.outstanding >= s.window {
		return Outgoing{}, false
	}
	if e.state == queued {
		id, ok := s.ids.Acquire(i)
		if !ok {
			return Outgoing{}, false
		}
		e.id, e.state = id, published
		s.queued--
		s.inFlight++
		s.journal.record(Change{Kind: Assigned, Seq: e.seq, ID: id})
	}
	s.cursor = s.links[i].Next
	s.outstanding++
	e.batch, e.attempts = batch, 0
	s.schedule(e, now)
	return e.packet(), true
}

// packet is what e waits to see acknowledged. DUP is set on a PUBLISH that may
// have been sent before [MQTT-3.3.1-1], with the same identifier [MQTT-2.3.1-3].
func (e *entry[T]) packet() Outgoing {
	if e.state == released { // never PUBLISH again after PUBREC [MQTT-4.3.3-1]
		return Outgoing{Type: frames.TypePubrel, Publish: frames.Publish{ID: e.id}}
	}
	return Outgoing{
		Type:    frames.TypePublish,
		Publish: frames.Publish{Message: e.message, ID: e.id, DUP: e.sent},
	}
}

// Written ends the QoS 0 publications of all batches up to batch: they are on
// their way, and that is all that QoS 0 promises.
func (s *Sender[T]) Written(batch uint64, end func(Ended[T])) {
	for i := s.unwritten.Head; i != 0 && s.entries[i].batch <= batch; i = s.unwritten.Head {
		end(s.finish(i))
	}
}

// Find returns what would end with a publication; false when it has ended.
func (s *Sender[T]) Find(h Handle) (e Ended[T], ok bool) {
	if h.slot == 0 || int(h.slot) >= len(s.entries) || s.entries[h.slot].seq != h.seq {
		return e, false
	}
	return s.entries[h.slot].ended(), true
}

// Each visits every publication that has not ended, those of a row by the parts that
// it is in.
func (s *Sender[T]) Each(visit func(Handle, T)) {
	for _, l := range []list.List{s.publications, s.unwritten} {
		for i := l.Head; i != 0; i = s.links[i].Next {
			visit(Handle{slot: i, seq: s.entries[i].seq}, s.entries[i].owner)
		}
	}
}

// Withdraw takes a publication, or a part of a row, back. It reports gone when nothing of it was
// sent: it has ended. Otherwise the exchange goes on without its owner, with a
// payload of its own. ok is false when the publication had ended before.
func (s *Sender[T]) Withdraw(h Handle) (gone, ok bool) {
	if _, ok := s.Find(h); !ok {
		return false, false
	}
	e := &s.entries[h.slot]
	if e.state == queued {
		s.finish(h.slot)
		return true, true
	}
	var none T
	e.owner = none
	e.message = e.message.Clone() // QoS 0 too: Lost puts it back in line when its batch was never taken
	e.run = e.run.clone()
	return false, true
}

// CommitFailed ends the publications whose acceptance is among changes, the commit
// of which has failed. They were never sent, since a commit comes before the
// bytes that depend on it. It is not known what the store has of them, so each
// acceptance becomes a Completed: changes are then what the store is owed.
func (s *Sender[T]) CommitFailed(changes []Change, end func(Ended[T])) {
	accepted := make(map[uint64]bool)
	for i, c := range changes {
		if c.Kind == Accepted {
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

// EndJournaled ends the publications whose acceptance waits in the journal. The
// store has never heard of them, so that it is owed nothing.
func (s *Sender[T]) EndJournaled(end func(Ended[T])) { s.CommitFailed(s.journal.changes, end) }

// Drain ends all publications after Lost, in order of acceptance; sent tells
// whether the publication may have left this process. The journal is not told:
// what a store holds, it goes on holding.
func (s *Sender[T]) Drain(end func(e Ended[T], sent bool)) {
	for i := s.publications.Head; i != 0; i = s.publications.Head {
		e := &s.entries[i]
		ended, sent := e.ended(), e.state != queued
		s.unlink(i)
		end(ended, sent)
	}
}

// Queued returns how many publications wait to be transmitted for the first time.
func (s *Sender[T]) Queued() int { return s.queued }

// InFlight returns how many QoS 1 and 2 publications hold an identifier.
func (s *Sender[T]) InFlight() int { return s.inFlight }

// Len returns how many publications have not ended.
func (s *Sender[T]) Len() int { return max(0, len(s.entries)-1) - len(s.free) + s.runExtra }

// Shrink gives the memory of an idle sender back.
func (s *Sender[T]) Shrink() {
	if s.Len() == 0 {
		s.entries, s.links, s.free = nil, nil, nil
	}
	s.ids.table.shrink()
}

func (s *Sender[T]) allocSlot() int32 {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	if len(s.entries) == 0 {
		s.entries, s.links = append(s.entries, entry[T]{}), append(s.links, list.Links{})
	}
	s.entries = append(s.entries, entry[T]{})
	s.links = append(s.links, list.Links{})
	return int32(len(s.entries) - 1)
}

func (s *Sender[T]) freeSlot(i int32) {
	s.entries[i] = entry[T]{}
	s.free = append(s.free, i)
}

// finish takes publication i out of all state, the store's too.
func (s *Sender[T]) finish(i int32) Ended[T] {
	e := &s.entries[i]
	ended := e.ended()
	if e.message.QoS > frames.AtMostOnce {
		s.journal.record(Change{Kind: Completed, Seq: e.seq})
	}
	s.unlink(i)
	return ended
}

func (e *entry[T]) ended() Ended[T] {
	return Ended[T]{Message: e.message, ID: e.id, Owner: e.owner, Run: e.run}
}

// unlink takes publication i out of the lists and the counts.
func (s *Sender[T]) unlink(i int32) {
	e := &s.entries[i]
	s.runExtra -= e.run.Len() - 1
	switch {
	case e.state == queued:
		s.queued -= e.run.Len()
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
		if s.cursor == i {
			s.cursor = s.links[i].Next
		}
		s.publications.Remove(s.links, i)
	}
	s.freeSlot(i)
}
