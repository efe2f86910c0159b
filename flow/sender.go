package flow

import (
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// Sender keeps the publications of one session from acceptance to end, in order of acceptance, and
// limits the QoS 1 and 2 publications outstanding on a connection to a window. T is the type of a
// value that the caller passes with each publication, and that the Sender returns when the
// publication ends.
//
// Every publication accepted by Add or AddRun ends exactly once: in Acknowledge, Written, Withdraw,
// Drop, Expire, Evict, Lost, SessionLost, GiveUp, CommitFailed, EndJournaled or Drain.
//
// A Sender consists of a queue, a window and the unwritten QoS 0 messages. Each publication that
// has not ended is counted by exactly one of them.
type Sender[T any] struct {
	queue     queue[T]
	window    window
	unwritten unwritten[T]

	retry    *Retry // nil: no retransmission on a live connection
	journal  *Journal
	seq      uint64   // the sequence number of the publication accepted last
	reserved reserved // identifiers of publications that were given up
}

// NewSender returns an empty sender with a window of the given size. retry and journal may be nil.
func NewSender[T any](size int, ids *Identifiers, retry *Retry, journal *Journal) *Sender[T] {
	return &Sender[T]{window: window{size: size, ids: ids}, retry: retry, journal: journal}
}

// SetWindow sets the window of a new connection, at least 1. If n or more publications are
// outstanding, the next QoS 1 or 2 publication waits until acks bring their number below n.
func (s *Sender[T]) SetWindow(n int) { s.window.resize(n) }

// Handle identifies a run that has not ended. It becomes invalid when the run is split.
type Handle struct {
	slot int32
	seq  uint64
}

// Ended is a run, or a part of a run, that has ended. A publication on its own is a run of one.
type Ended[T any] struct {
	Message frames.Message    // the first message
	Rest    []frames.Message  // the other messages
	Seq     uint64            // of the first message; the other numbers follow
	ID      uint16            // 0: no identifier was assigned
	Code    frames.ReasonCode // of the ack that ended it; for QoS 2, of PUBREC
	Lowered bool              // by Lower
	Sent    bool              // it may have been sent before its last transmission, in any session
	Owner   T
	At      time.Duration // when it was accepted; 0 if Restore has added it
}

// Len returns the number of messages.
func (e *Ended[T]) Len() int { return 1 + len(e.Rest) }

// Add accepts m at the time now, behind all other publications. It expires at x.
func (s *Sender[T]) Add(m frames.Message, owner T, now time.Duration, x Expiry) Handle {
	i := s.queue.alloc()
	s.queue.at(i).lone[0] = m
	s.accept(i, owner, now, &x)
	return Handle{slot: i, seq: s.seq}
}

// AddRun is Add for one or more messages, which are all at QoS 0, or all above. They get
// consecutive sequence numbers, after Accepted, and wait as a single entry. QoS 0 messages are also
// sent and end as one, so far as they are in one batch. The Sender keeps the slice, so the caller
// must not change a message until it has ended or was withdrawn.
func (s *Sender[T]) AddRun(messages []frames.Message, owner T, now time.Duration, x Expiry) {
	i := s.queue.alloc()
	s.queue.at(i).run = messages
	s.accept(i, owner, now, &x)
}

// accept appends the run in slot i to the queue.
func (s *Sender[T]) accept(i int32, owner T, now time.Duration, x *Expiry) {
	e := s.queue.at(i)
	e.owner, e.seq, e.at, e.until = owner, s.seq+1, now, x.At
	s.seq += uint64(e.len())
	s.queue.push(i)
	if s.journal == nil || e.qos0() {
		return
	}
	for k, m := range e.messages() {
		// Record a copy, since after Withdraw the caller may reuse the payload before the change is
		// committed.
		s.journal.record(Change{Kind: Accepted, Seq: e.seq + uint64(k), Message: m.Clone(), Deadline: x.Wall})
	}
}

// Restore adds a publication from a store, with 0 as the time of its acceptance. It expires at the
// time until; 0 is never. Call Restore in the order of the snapshot and before the first Add. It
// reports false and adds nothing if the publication shows that the store is damaged: the identifier
// is in use, Seq is not above the Seq before it, or the state does not fit the QoS.
func (s *Sender[T]) Restore(p Publication, owner T, until time.Duration) bool {
	if p.GivenUp() {
		return s.restoreGivenUp(&p)
	}
	qos := p.Message.QoS
	if qos != frames.AtLeastOnce && qos != frames.ExactlyOnce || p.Seq <= s.seq {
		return false
	}
	if p.Released && (qos != frames.ExactlyOnce || p.ID == 0) {
		return false
	}
	i := s.queue.alloc()
	if p.ID != 0 && !s.window.claim(p.ID, i) {
		s.queue.release(i)
		return false
	}
	e := s.queue.at(i)
	e.lone[0], e.owner, e.seq, e.id, e.until = p.Message, owner, p.Seq, p.ID, until
	s.seq = p.Seq
	if p.ID != 0 {
		e.state, e.sent = published, sentNow
	}
	if p.Released {
		e.state, e.resumed = released, true
	}
	s.queue.push(i)
	return true
}

// Outgoing has the next packets to transmit: a PUBLISH for each message, or a PUBREL.
type Outgoing struct {
	Type     frames.Type
	Messages []frames.Message // one, or several at QoS 0; valid until the next call of the Sender
	ID       uint16
	DUP      bool
	Until    time.Duration // when the messages expire; 0: never
}

// Next returns the next packets to transmit, until the caller calls Transmitted for them. It
// returns false when the window is full or nothing is queued. Packets come in order of acceptance,
// retransmissions included [MQTT-4.6.0-1].
func (s *Sender[T]) Next() (Outgoing, bool) {
	i := s.queue.next()
	if i == 0 {
		return Outgoing{}, false
	}
	e := s.queue.at(i)
	if e.qos0() {
		return Outgoing{Type: frames.TypePublish, Messages: e.messages(), Until: e.until}, true
	}
	if s.window.full() {
		return Outgoing{}, false
	}
	if e.state == queued {
		i = s.queue.split(i, 1)
		id, ok := s.window.assign(i)
		if !ok {
			return Outgoing{}, false
		}
		e = s.queue.at(i)
		s.queue.start(e, id)
		s.journal.progress(Assigned, e.seq, id)
	}
	return e.packet(), true
}

// Transmitted records that the first n messages that Next has returned, or the PUBREL, are in
// batch. Batch numbers rise from 1.
func (s *Sender[T]) Transmitted(n int, batch uint64, now time.Duration) {
	e := s.queue.at(s.queue.next())
	if e.qos0() {
		s.queue.moveTo(&s.unwritten, n, batch)
		return
	}
	s.queue.advance()
	s.window.add()
	e.batch, e.attempts = batch, 0
	s.schedule(e, now)
}

// packet returns the packet whose ack e awaits. DUP is set on a PUBLISH that may have been sent
// before [MQTT-3.3.1-1], with the same identifier [MQTT-2.3.1-3].
func (e *entry[T]) packet() Outgoing {
	if e.state == released { // never PUBLISH again after PUBREC [MQTT-4.3.3-1]
		return Outgoing{Type: frames.TypePubrel, ID: e.id}
	}
	return Outgoing{Type: frames.TypePublish, Messages: e.messages(), ID: e.id, DUP: e.sent == sentNow, Until: e.until}
}

// Written ends the QoS 0 publications of all batches up to batch. A QoS 0 publication is complete
// when its packet has been written.
func (s *Sender[T]) Written(batch uint64, end func(Ended[T])) {
	for {
		i := s.unwritten.written(&s.queue.slab, batch)
		if i == 0 {
			return
		}
		end(s.end(i, frames.Success))
	}
}

// Accepted returns the sequence number of the publication that was accepted last.
func (s *Sender[T]) Accepted() uint64 { return s.seq }

// Oldest returns the lowest sequence number of a publication that has not ended, or a number above
// Accepted if there is none.
func (s *Sender[T]) Oldest() uint64 {
	oldest := s.seq + 1
	for _, i := range [...]int32{s.queue.first(), s.unwritten.first()} {
		if i != 0 {
			oldest = min(oldest, s.queue.at(i).seq)
		}
	}
	return oldest
}

// OldestInFlight returns the sequence number of the first publication that has an identifier, and
// the time when it was accepted. The number is 0 if there is none.
func (s *Sender[T]) OldestInFlight() (seq uint64, at time.Duration) {
	if s.window.assigned() == 0 {
		return 0, 0
	}
	for _, e := range s.queue.all {
		if e.id != 0 {
			return e.seq, e.at
		}
	}
	return 0, 0
}

// Find returns the present state of the run with handle h, or false if it has ended.
func (s *Sender[T]) Find(h Handle) (e Ended[T], ok bool) {
	if found := s.queue.find(h); found != nil {
		return found.ended(), true
	}
	return e, false
}

// Each visits every run that has not ended.
func (s *Sender[T]) Each(visit func(Handle, T)) {
	for i, e := range s.queue.all {
		visit(Handle{slot: i, seq: e.seq}, e.owner)
	}
	s.unwritten.all(&s.queue.slab, func(i int32, e *entry[T]) {
		visit(Handle{slot: i, seq: e.seq}, e.owner)
	})
}

// InFlight returns how many QoS 1 and 2 publications have an identifier.
func (s *Sender[T]) InFlight() int { return s.window.assigned() }

// Len returns how many publications have not ended.
func (s *Sender[T]) Len() int { return s.Queued() + s.window.assigned() + s.unwritten.len() }

// Shrink frees the memory of an idle sender.
func (s *Sender[T]) Shrink() {
	if s.Len() == 0 {
		s.queue.shrink()
	}
	s.window.shrink()
}
