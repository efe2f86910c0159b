package flow

import (
	"time"

	"github.com/go-millrace/mqtt/flow/list"
	"github.com/go-millrace/mqtt/frames"
)

// An entry is a run of publications: messages with consecutive sequence numbers that were accepted
// together for one owner. A message on its own is a run of one.
//
// Invariant: the messages of a run are all at QoS 0, or all above. They have the same state. A run
// above QoS 0 has a single message once it has an identifier or may have been sent.
type entry[T any] struct {
	lone  [1]frames.Message // the message of a run of one whose run is nil
	run   []frames.Message  // the messages, in the memory of the caller
	owner T

	seq   uint64        // of the first message
	batch uint64        // the batch of its last transmission on this connection; 0: not transmitted
	due   time.Duration // with Retry: when to send it again
	at    time.Duration // when it was accepted
	until time.Duration // when it expires; 0: never

	id       uint16
	attempts uint8
	state    state
	sent     sent
	resumed  bool              // PUBREL may have left this process before
	lowered  bool              // Lower has lowered its QoS
	code     frames.ReasonCode // of PUBREC
}

type state byte

const (
	queued    state = iota
	published       // PUBLISH awaits its ack, or a QoS 0 message is not written yet
	released        // PUBREC was received, and PUBREL awaits PUBCOMP
)

// sent says whether a publication may have left this process.
type sent byte

const (
	unsent      sent = iota
	sentEarlier      // in a session that the broker has lost
	sentNow          // in this session, so a retransmission sets DUP
)

// messages returns the messages of the run, valid until the next change of the slab.
func (e *entry[T]) messages() []frames.Message {
	if e.run == nil {
		return e.lone[:]
	}
	return e.run
}

// first returns the first message of the run.
func (e *entry[T]) first() *frames.Message {
	if e.run == nil {
		return &e.lone[0]
	}
	return &e.run[0]
}

func (e *entry[T]) len() int { return max(1, len(e.run)) }

// qos0 reports whether the messages are at QoS 0, so that neither the window nor the store counts
// them.
func (e *entry[T]) qos0() bool { return e.first().QoS == frames.AtMostOnce }

// ended returns the run as an Ended.
func (e *entry[T]) ended() Ended[T] {
	m := e.messages()
	return Ended[T]{
		Message: m[0], Rest: m[1:], Seq: e.seq, ID: e.id, Lowered: e.lowered, Sent: e.sent != unsent,
		Owner: e.owner, At: e.at,
	}
}

// A slab holds entries, so that no entry is allocated on its own. Slot 0 is unused.
type slab[T any] struct {
	entries []entry[T]
	links   []list.Links // of the entries, in the list that each is in
	free    []int32      // the slots that may be used again
}

// alloc returns the slot of a zero entry. It may move the entries in memory.
func (s *slab[T]) alloc() int32 {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	s.entries = append(s.entries, make([]entry[T], max(1, 2-len(s.entries)))...)
	s.links = append(s.links, make([]list.Links, len(s.entries)-len(s.links))...)
	return int32(len(s.entries) - 1)
}

// at returns the entry in slot i, valid until the next alloc.
func (s *slab[T]) at(i int32) *entry[T] { return &s.entries[i] }

// release frees slot i, which must be in no list.
func (s *slab[T]) release(i int32) {
	s.entries[i] = entry[T]{}
	s.free = append(s.free, i)
}

// shrink frees the memory of a slab without entries.
func (s *slab[T]) shrink() { *s = slab[T]{} }

// find returns the entry with handle h, or nil if it has ended or was split.
func (s *slab[T]) find(h Handle) *entry[T] {
	if h.slot == 0 || int(h.slot) >= len(s.entries) || s.entries[h.slot].seq != h.seq {
		return nil
	}
	return &s.entries[h.slot]
}
