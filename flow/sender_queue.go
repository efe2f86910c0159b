package flow

import (
	"math"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// This file has the queue of a Sender: the publications that await their first transmission, and
// the limits of their number and their bytes.

// Full is the fate of a new publication for which the queue has no room.
type Full byte

const (
	Block       Full = iota // it waits for room
	Refuse                  // it is refused
	EvictOldest             // the queued publications accepted first give way to it
)

// QueueLimit bounds the publications that await their first transmission. With Block they may be
// above Bytes by a part of the last one, since its size is unknown before it is received.
type QueueLimit struct {
	Messages int
	Bytes    int // counted with Cost; 0: not limited
	Full     Full
}

// Limit sets the limits of the queue. Call it before the first Restore and Add. The Sender accepts
// everything that is added; the caller asks Room or Fits first.
func (s *Sender[T]) Limit(l QueueLimit) { s.limit = l }

// Overhead is counted for each message in addition to its topic, payload and properties, in bytes.
const Overhead = 128

// Cost returns the number of bytes that a waiting message counts with.
func Cost(m *frames.Message) int {
	n := len(m.Payload) + len(m.Topic) + Overhead
	if m.Properties != nil {
		n += frames.PropertiesMemory(m.Properties)
	}
	return n
}

// Room is the room that is left in a queue.
type Room struct {
	messages int
	bytes    int64 // math.MaxInt64: not limited
	whole    bool  // a message takes room only as a whole, so not with Block
}

// Left reports whether there is room for a message of some size.
func (r Room) Left() bool { return r.messages > 0 && r.bytes > 0 }

// Take reports whether there is room for m, and subtracts the room that m takes.
func (r *Room) Take(m *frames.Message) bool {
	if r.messages > 0 && (r.bytes == math.MaxInt64 || r.takeBytes(m)) {
		r.messages--
		return true
	}
	return false
}

func (r *Room) takeBytes(m *frames.Message) bool {
	left := r.bytes - int64(Cost(m))
	if r.bytes <= 0 || r.whole && left < 0 {
		return false
	}
	r.bytes = left
	return true
}

// Room returns the room in the queue.
func (s *Sender[T]) Room() Room {
	r := Room{messages: s.limit.Messages - s.queued, bytes: math.MaxInt64}
	if s.limit.Bytes > 0 {
		r.bytes, r.whole = int64(s.limit.Bytes)-s.queuedBytes, s.limit.Full != Block
	}
	return r
}

// Fits reports whether the queue has room for m.
func (s *Sender[T]) Fits(m *frames.Message) bool {
	r := s.Room()
	return r.Take(m)
}

// Evict ends the queued publications that were accepted first, until there is room for m. A
// publication that may have been sent stays. Evict reports whether there is room; for a message
// above the limit in bytes there is none, and nothing ends.
func (s *Sender[T]) Evict(m *frames.Message, end func(Ended[T])) bool {
	if s.limit.Bytes > 0 && Cost(m) > s.limit.Bytes {
		return false
	}
	for !s.Fits(m) {
		i := s.firstQueued()
		for i != 0 && !s.entries[i].evictable() {
			i = s.links[i].Next
		}
		if i == 0 {
			return false
		}
		if s.entries[i].run != nil {
			i = s.split(i, 1)
		}
		end(s.remove(i))
	}
	return true
}

func (e *entry[T]) evictable() bool { return e.state == queued && !e.sent && !e.earlier }

// Relaxed reports whether no more than half of the queue's limits is in use.
func (s *Sender[T]) Relaxed() bool {
	return s.queued <= s.limit.Messages/2 && (s.limit.Bytes == 0 || s.queuedBytes <= int64(s.limit.Bytes/2))
}

// Queued returns how many publications await their first transmission.
func (s *Sender[T]) Queued() int { return s.queued }

// QueuedBytes returns the bytes of these publications, 0 if their bytes are not limited.
func (s *Sender[T]) QueuedBytes() int64 { return s.queuedBytes }

// IsQueued reports whether a publication awaits its first transmission.
func (s *Sender[T]) IsQueued(h Handle) bool {
	_, ok := s.Find(h)
	return ok && s.entries[h.slot].state == queued
}

// OldestQueued returns the sequence number of the first publication that awaits its first
// transmission, and the time when it was accepted. The number is 0 if there is none.
func (s *Sender[T]) OldestQueued() (seq uint64, at time.Duration) {
	if i := s.firstQueued(); i != 0 {
		return s.entries[i].seq, s.entries[i].at
	}
	return 0, 0
}

// firstQueued returns the slot of the first publication that awaits its first transmission, 0 if
// there is none.
func (s *Sender[T]) firstQueued() int32 {
	if s.queued == 0 {
		return 0
	}
	if s.queueHead == 0 {
		s.queueHead = s.publications.Head
	}
	for s.entries[s.queueHead].state != queued {
		s.queueHead = s.links[s.queueHead].Next
	}
	return s.queueHead
}

// queue counts e in the queue, and dequeue ends that.
func (s *Sender[T]) queue(e *entry[T]) {
	s.queued += e.run.Len()
	if s.limit.Bytes > 0 {
		s.queuedBytes += e.cost()
	}
}

func (s *Sender[T]) dequeue(e *entry[T]) {
	s.queued -= e.run.Len()
	switch {
	case s.queued == 0:
		s.queuedBytes = 0 // also if the user has changed properties meanwhile
	case s.limit.Bytes > 0:
		s.queuedBytes -= e.cost()
	}
}

func (e *entry[T]) cost() (n int64) {
	if e.run == nil {
		return int64(Cost(&e.message))
	}
	for i := range e.run.Messages {
		n += int64(Cost(&e.run.Messages[i]))
	}
	return n
}
