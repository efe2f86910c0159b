package flow

import (
	"time"

	"github.com/go-millrace/mqtt/flow/list"
	"github.com/go-millrace/mqtt/frames"
)

// Sender keeps the publications of one session from acceptance to end, in order of acceptance, and
// limits the QoS 1 and 2 publications outstanding on a connection to a window. T is the type of a
// value that the caller passes with each publication, and that the Sender returns when the
// publication ends.
//
// Every publication accepted by Add or AddRun ends exactly once: in Acknowledge, Written, Withdraw,
// Drop, Expire, Evict, Lost, GiveUp, CommitFailed, EndJournaled or Drain.
type Sender[T any] struct {
	window  int
	ids     *Identifiers
	retry   *Retry // nil: no retransmission on a live connection
	journal *Journal
	limit   QueueLimit

	// The slab: entries holds publications and runs, links their list links. Slot 0 is unused. The
	// indexes of reusable slots are in free.
	entries []entry[T]
	links   []list.Links
	free    []int32

	// Every publication that has not ended is in one of two lists. unwritten holds the QoS 0
	// messages in batches whose write is not confirmed. publications holds all other publications
	// in order of acceptance; the entries before cursor were transmitted on this connection.
	publications list.List
	cursor       int32
	queueHead    int32 // no queued publication stands before it; 0: unknown
	expiring     int32 // publications that expire
	unwritten    list.List

	seq         uint64        // the sequence number of the publication accepted last
	queued      int           // publications accepted and not yet transmitted
	queuedBytes int64         // their bytes, if the limit has bytes
	runExtra    int           // publications in runs, without the first of each run
	inFlight    int           // QoS 1 and 2 publications that have an identifier
	outstanding int           // the part of inFlight that was transmitted on this connection
	expireAt    time.Duration // not after the first deadline of a queued publication; 0: none is known

	reserved reserved // identifiers of publications that were given up
}

type entry[T any] struct {
	message frames.Message
	run     *Run // for a run, in place of message
	owner   T

	seq   uint64        // for a run, the sequence number of its first message
	batch uint64        // the batch of its last transmission on this connection; 0: not transmitted
	due   time.Duration // with Retry: when to send it again
	at    time.Duration // when it was accepted
	until time.Duration // when it expires; 0: never

	id       uint16
	attempts uint8
	state    state
	sent     bool              // it may have left this process, so a retransmission sets DUP
	resumed  bool              // PUBREL may have left this process before
	lowered  bool              // Lower has lowered its QoS
	earlier  bool              // it may have been sent in a session that the broker has lost
	code     frames.ReasonCode // of PUBREC
}

type state byte

const (
	queued    state = iota
	published       // PUBLISH awaits its ack, or a QoS 0 message is not written yet
	released        // PUBREC was received, and PUBREL awaits PUBCOMP
)

// NewSender returns an empty sender with the given window. retry and journal may be nil.
func NewSender[T any](window int, ids *Identifiers, retry *Retry, journal *Journal) *Sender[T] {
	return &Sender[T]{
		window: window, ids: ids, retry: retry, journal: journal,
	}
}

// SetWindow sets the window of a new connection, at least 1. If n or more publications are
// outstanding, the next QoS 1 or 2 publication waits until acks bring their number below n.
func (s *Sender[T]) SetWindow(n int) { s.window = n }

// Handle identifies a publication that has not ended. The handle of a run, or of a part of a run,
// becomes invalid when NextRun splits it.
type Handle struct {
	slot int32
	seq  uint64
}

// Ended is a publication, or a part of a run, that has ended.
type Ended[T any] struct {
	Message frames.Message
	ID      uint16            // 0: no identifier was assigned
	Code    frames.ReasonCode // of the ack that ended it; for QoS 2, of PUBREC
	Lowered bool              // by Lower
	Sent    bool              // it may have been sent before its last transmission, perhaps in a session that the broker has lost
	Owner   T
	At      time.Duration // when it was accepted; 0 for one that Restore has added
	Run     *Run          // set in place of Message for messages accepted by AddRun
}

// Add accepts m at the time now, behind all other publications.
func (s *Sender[T]) Add(m frames.Message, owner T, now time.Duration) Handle {
	return s.add(&m, owner, now, nil)
}

// AddExpiring is Add for a message that expires.
func (s *Sender[T]) AddExpiring(m frames.Message, owner T, now time.Duration, x Expiry) Handle {
	return s.add(&m, owner, now, &x)
}

// add accepts a message, which expires if x is not nil. The parameters are pointers, since copies
// cost time on the path of each message.
func (s *Sender[T]) add(m *frames.Message, owner T, now time.Duration, x *Expiry) Handle {
	s.seq++
	i := s.allocSlot()
	e := &s.entries[i]
	e.message, e.owner, e.seq, e.at = *m, owner, s.seq, now
	if x != nil {
		s.setExpiry(e, x.At)
	}
	s.enqueue(i)
	s.queue(e)
	if s.journal != nil && m.QoS > frames.AtMostOnce {
		// Record a copy, since after Withdraw the caller may reuse the payload before the change is
		// committed.
		c := Change{Kind: Accepted, Seq: e.seq, Message: m.Clone()}
		if x != nil {
			c.Deadline = x.Wall
		}
		s.journal.record(c)
	}
	return Handle{slot: i, seq: e.seq}
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
		s.queue(e)
	default:
		e.state, e.sent = published, true
		if p.Released {
			e.state, e.resumed = released, true
		}
		s.inFlight++
	}
	s.setExpiry(e, until)
	s.enqueue(i)
	return true
}

func (s *Sender[T]) enqueue(i int32) {
	s.publications.PushBack(s.links, i)
	if s.cursor == 0 {
		s.cursor = i
	}
}

// Outgoing is a packet to transmit now: a PUBLISH, or a PUBREL for Publish.ID.
type Outgoing struct {
	Type    frames.Type
	Publish frames.Publish
	Until   time.Duration // when the message expires; 0: never
}

// Next returns the next packet to transmit and records that it is in batch. Batch numbers rise from
// 1. Call Next only if AtRun returns false. Next returns false when the window is full or nothing
// is queued. Packets come in order of acceptance, retransmissions included [MQTT-4.6.0-1].
func (s *Sender[T]) Next(batch uint64, now time.Duration) (Outgoing, bool) {
	i := s.cursor
	if i == 0 {
		return Outgoing{}, false
	}
	e := &s.entries[i]
	if e.message.QoS == frames.AtMostOnce {
		s.transmitQoS0(i, batch)
		return Outgoing{Type: frames.TypePublish, Publish: frames.Publish{Message: e.message}, Until: e.until}, true
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
		s.dequeue(e)
		s.inFlight++
		s.journal.progress(Assigned, e.seq, id)
	}
	s.cursor = s.links[i].Next
	s.outstanding++
	e.batch, e.attempts = batch, 0
	s.schedule(e, now)
	return e.packet(), true
}

// packet returns the packet whose ack e awaits. DUP is set on a PUBLISH that may have been sent
// before [MQTT-3.3.1-1], with the same identifier [MQTT-2.3.1-3].
func (e *entry[T]) packet() Outgoing {
	if e.state == released { // never PUBLISH again after PUBREC [MQTT-4.3.3-1]
		return Outgoing{Type: frames.TypePubrel, Publish: frames.Publish{ID: e.id}}
	}
	return Outgoing{
		Type:    frames.TypePublish,
		Publish: frames.Publish{Message: e.message, ID: e.id, DUP: e.sent},
		Until:   e.until,
	}
}

// Written ends the QoS 0 publications of all batches up to batch. A QoS 0 publication is complete
// when its packet has been written.
func (s *Sender[T]) Written(batch uint64, end func(Ended[T])) {
	for i := s.unwritten.Head; i != 0 && s.entries[i].batch <= batch; i = s.unwritten.Head {
		end(s.finish(i))
	}
}

// Accepted returns the sequence number of the publication that was accepted last.
func (s *Sender[T]) Accepted() uint64 { return s.seq }

// Oldest returns the lowest sequence number of a publication that has not ended, or a number above
// Accepted if there is none.
func (s *Sender[T]) Oldest() uint64 {
	oldest := s.seq + 1
	for _, l := range []list.List{s.publications, s.unwritten} {
		if l.Head != 0 {
			oldest = min(oldest, s.entries[l.Head].seq)
		}
	}
	return oldest
}

// OldestInFlight returns the sequence number of the first publication that has an identifier, and
// the time when it was accepted. The number is 0 if there is none.
func (s *Sender[T]) OldestInFlight() (seq uint64, at time.Duration) {
	for i := s.publications.Head; s.inFlight > 0 && i != 0; i = s.links[i].Next {
		if e := &s.entries[i]; e.id != 0 {
			return e.seq, e.at
		}
	}
	return 0, 0
}

// Find returns the present state of the publication with handle h, or false if the publication has
// ended.
func (s *Sender[T]) Find(h Handle) (e Ended[T], ok bool) {
	if h.slot == 0 || int(h.slot) >= len(s.entries) || s.entries[h.slot].seq != h.seq {
		return e, false
	}
	return s.entries[h.slot].ended(), true
}

// Each visits every publication that has not ended. A run is visited once for each of its parts.
func (s *Sender[T]) Each(visit func(Handle, T)) {
	for _, l := range []list.List{s.publications, s.unwritten} {
		for i := l.Head; i != 0; i = s.links[i].Next {
			visit(Handle{slot: i, seq: s.entries[i].seq}, s.entries[i].owner)
		}
	}
}

// InFlight returns how many QoS 1 and 2 publications have an identifier.
func (s *Sender[T]) InFlight() int { return s.inFlight }

// Len returns how many publications have not ended.
func (s *Sender[T]) Len() int { return max(0, len(s.entries)-1) - len(s.free) + s.runExtra }

// Shrink frees the memory of an idle sender.
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
	if s.entries[i].until != 0 {
		s.expiring--
	}
	s.entries[i] = entry[T]{}
	s.free = append(s.free, i)
}
