package flow

import (
	"math"
	"time"

	"github.com/go-millrace/mqtt/flow/list"
	"github.com/go-millrace/mqtt/frames"
)

// A queue keeps publications in order of acceptance, and limits the number and the bytes of the
// publications that await their first transmission.
//
// Invariant: the queue has every entry that is not in unwritten. The entries before cursor were
// transmitted on this connection. Every entry in state queued is counted, by count.
type queue[T any] struct {
	slab[T]
	limit  QueueLimit
	order  list.List
	cursor int32 // the next entry to transmit; 0: none
	head   int32 // no waiting entry stands before it; 0: unknown

	waiting  int           // messages that await their first transmission
	bytes    int64         // their bytes, if the limit has bytes
	expiring int           // the number of them that have a deadline
	expireAt time.Duration // at or before their first deadline; 0: none has one
}

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
func (q *queue[T]) Limit(l QueueLimit) { q.limit = l }

// Room returns the room in the queue.
func (q *queue[T]) Room() Room {
	r := Room{messages: q.limit.Messages - q.waiting, bytes: math.MaxInt64}
	if q.limit.Bytes > 0 {
		r.bytes, r.whole = int64(q.limit.Bytes)-q.bytes, q.limit.Full != Block
	}
	return r
}

// Fits reports whether the queue has room for m.
func (q *queue[T]) Fits(m *frames.Message) bool {
	r := q.Room()
	return r.Take(m)
}

// Relaxed reports whether no more than half of the queue's limits is in use.
func (q *queue[T]) Relaxed() bool {
	return q.waiting <= q.limit.Messages/2 && (q.limit.Bytes == 0 || q.bytes <= int64(q.limit.Bytes/2))
}

// Queued returns how many publications await their first transmission.
func (q *queue[T]) Queued() int { return q.waiting }

// QueuedBytes returns the bytes of these publications, 0 if their bytes are not limited.
func (q *queue[T]) QueuedBytes() int64 { return q.bytes }

// IsQueued reports whether a publication awaits its first transmission.
func (q *queue[T]) IsQueued(h Handle) bool {
	e := q.find(h)
	return e != nil && e.state == queued
}

// OldestQueued returns the sequence number of the first publication that awaits its first
// transmission, and the time when it was accepted. The number is 0 if there is none.
func (q *queue[T]) OldestQueued() (seq uint64, at time.Duration) {
	if i := q.oldest(); i != 0 {
		return q.entries[i].seq, q.entries[i].at
	}
	return 0, 0
}

// ExpiresAt returns the time at which Expire is to be called next, 0 for never.
func (q *queue[T]) ExpiresAt() time.Duration { return q.expireAt }

// all visits the entries in order. The loop may end the entry that it visits.
func (q *queue[T]) all(visit func(int32, *entry[T]) bool) {
	for i := q.order.Head; i != 0; {
		next := q.links[i].Next
		if !visit(i, &q.entries[i]) {
			return
		}
		i = next
	}
}

// oldest returns the slot of the first entry that awaits its first transmission, 0 if there is
// none.
func (q *queue[T]) oldest() int32 {
	if q.waiting == 0 {
		return 0
	}
	if q.head == 0 {
		q.head = q.order.Head
	}
	for q.entries[q.head].state != queued {
		q.head = q.links[q.head].Next
	}
	return q.head
}

// evictable returns the slot of the first entry that awaits its first transmission and was never
// sent, not even in an earlier session; 0 if there is none.
func (q *queue[T]) evictable() int32 {
	i := q.oldest()
	for i != 0 && (q.entries[i].state != queued || q.entries[i].sent != unsent) {
		i = q.links[i].Next
	}
	return i
}

// count adds the messages of an entry to the waiting messages, or subtracts them if sign is -1.
func (q *queue[T]) count(e *entry[T], sign int) {
	n := sign * e.len()
	if q.waiting += n; q.waiting == 0 {
		q.bytes = 0 // also if the user has changed properties meanwhile
	} else if q.limit.Bytes > 0 {
		for k := range e.messages() {
			q.bytes += int64(sign * Cost(&e.messages()[k]))
		}
	}
	if e.until == 0 {
		return
	}
	if q.expiring += n; q.expiring == 0 {
		q.expireAt = 0
	} else if sign > 0 {
		q.expireBy(e.until)
	}
}

// expireBy records the deadline of a waiting publication.
func (q *queue[T]) expireBy(at time.Duration) {
	if q.expireAt == 0 || at < q.expireAt {
		q.expireAt = at
	}
}

// push appends the entry in slot i.
func (q *queue[T]) push(i int32) {
	q.order.PushBack(q.links, i)
	if q.cursor == 0 {
		q.cursor = i
	}
}

// leave removes the entry in slot i.
func (q *queue[T]) leave(i int32) {
	next := q.links[i].Next
	if q.cursor == i {
		q.cursor = next
	}
	if q.head == i {
		q.head = next
	}
	q.order.Remove(q.links, i)
}

// split moves the first n messages of the run in slot i to an entry of their own in front of it,
// and returns its slot. It may move the entries in memory.
func (q *queue[T]) split(i int32, n int) int32 {
	if n == q.entries[i].len() {
		return i
	}
	part := q.alloc()
	e, p := &q.entries[i], &q.entries[part]
	*p = *e
	p.run, e.run = e.run[:n], e.run[n:]
	e.seq += uint64(n)
	q.order.InsertBefore(q.links, part, i)
	if q.cursor == i {
		q.cursor = part
	}
	if q.head == i {
		q.head = part
	}
	return part
}

// rewind moves the cursor to the first entry, for a new connection.
func (q *queue[T]) rewind() { q.cursor, q.head = q.order.Head, 0 }

// putBack moves the runs of u, which were not sent, back to their places in the order.
func (q *queue[T]) putBack(u *unwritten[T]) {
	at := q.order.Head
	for i := u.Head; i != 0; i = u.Head {
		u.remove(&q.slab, i)
		e := &q.entries[i]
		for at != 0 && q.entries[at].seq < e.seq {
			at = q.links[at].Next
		}
		q.order.InsertBefore(q.links, i, at)
		e.state, e.batch = queued, 0
		q.count(e, 1)
	}
}
