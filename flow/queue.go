package flow

import (
	"time"

	"github.com/go-millrace/mqtt/flow/list"
)

// A queue keeps publications in order of acceptance, and has a cursor at the next one to transmit.
//
// Invariant: the queue has every entry that is not in unwritten. The entries before cursor were
// transmitted on this connection. The entries in state queued wait for their first transmission,
// and exactly their messages are in the backlog.
type queue[T any] struct {
	slab[T]
	backlog
	order  list.List
	cursor int32 // the next entry to transmit; 0: none
	head   int32 // no waiting entry stands before it; 0: unknown
}

// first returns the slot of the first entry, 0 if there is none.
func (q *queue[T]) first() int32 { return q.order.Head }

// next returns the slot of the next entry to transmit, 0 if there is none.
func (q *queue[T]) next() int32 { return q.cursor }

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

// transmitted visits the entries that were transmitted on this connection, in order.
func (q *queue[T]) transmitted(visit func(int32, *entry[T]) bool) {
	for i := q.order.Head; i != 0 && i != q.cursor && visit(i, &q.entries[i]); {
		i = q.links[i].Next
	}
}

// oldest returns the slot of the first entry that awaits its first transmission, 0 if there is
// none.
func (q *queue[T]) oldest() int32 {
	if q.waiting() == 0 {
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

// expired visits the waiting entries that have expired at the time now. The visitor must end them.
func (q *queue[T]) expired(now time.Duration, visit func(int32)) {
	if !q.beginExpiry(now) {
		return
	}
	for i, e := range q.all {
		switch {
		case e.until == 0 || e.state != queued:
		case e.until <= now:
			visit(i)
		default:
			q.expireBy(e.until)
		}
	}
}

// push appends the entry in slot i.
func (q *queue[T]) push(i int32) {
	q.order.PushBack(q.links, i)
	if q.cursor == 0 {
		q.cursor = i
	}
	if e := &q.entries[i]; e.state == queued {
		q.add(e.messages(), e.until)
	}
}

// start ends the wait of an entry, whose exchange begins with the given identifier.
func (q *queue[T]) start(e *entry[T], id uint16) {
	e.id, e.state = id, published
	q.subtract(e.messages(), e.until)
}

// stop undoes start: the entry waits again, without an identifier.
func (q *queue[T]) stop(e *entry[T]) {
	e.id, e.state = 0, queued
	q.add(e.messages(), e.until)
	q.head = 0
}

// advance records that the entry that next returns was transmitted.
func (q *queue[T]) advance() { q.cursor = q.links[q.cursor].Next }

// remove removes the entry in slot i from the queue. It stays in the slab.
func (q *queue[T]) remove(i int32) {
	if e := &q.entries[i]; e.state == queued {
		q.subtract(e.messages(), e.until)
	}
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

// moveTo moves the first n messages of the entry that next returns, which are at QoS 0, to u as
// part of batch.
func (q *queue[T]) moveTo(u *unwritten[T], n int, batch uint64) {
	i := q.split(q.cursor, n)
	q.remove(i)
	u.push(&q.slab, i, batch)
}

// putBack moves the runs of u, which were not sent, back to their places in the order.
func (q *queue[T]) putBack(u *unwritten[T]) {
	at := q.order.Head
	for i := u.first(); i != 0; i = u.first() {
		u.remove(&q.slab, i)
		e := &q.entries[i]
		for at != 0 && q.entries[at].seq < e.seq {
			at = q.links[at].Next
		}
		q.order.InsertBefore(q.links, i, at)
		e.state, e.batch = queued, 0
		q.add(e.messages(), e.until)
	}
}
