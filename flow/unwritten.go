package flow

import "github.com/go-millrace/mqtt/flow/list"

// unwritten is a FIFO of the QoS 0 runs in batches whose write is not confirmed. Its entries stay
// in their slots of the slab, which most methods take, so that their handles stay valid.
//
// Invariant: the batch numbers and the sequence numbers ascend. Every entry is in state published.
type unwritten[T any] struct {
	order    list.List
	messages int // of all runs
}

// push appends the run in slot i, which is in no list, as part of batch.
func (u *unwritten[T]) push(s *slab[T], i int32, batch uint64) {
	e := s.at(i)
	e.state, e.batch = published, batch
	u.order.PushBack(s.links, i)
	u.messages += e.len()
}

// remove removes the run in slot i.
func (u *unwritten[T]) remove(s *slab[T], i int32) {
	u.order.Remove(s.links, i)
	u.messages -= s.at(i).len()
}

// first returns the slot of the first run, 0 if there is none.
func (u *unwritten[T]) first() int32 { return u.order.Head }

// written returns the slot of the first run if its batch number is at most batch, otherwise 0.
func (u *unwritten[T]) written(s *slab[T], batch uint64) int32 {
	if i := u.order.Head; i != 0 && s.at(i).batch <= batch {
		return i
	}
	return 0
}

// all visits the runs in order.
func (u *unwritten[T]) all(s *slab[T], visit func(int32, *entry[T])) {
	for i := u.order.Head; i != 0; i = s.links[i].Next {
		visit(i, s.at(i))
	}
}

// len returns the number of messages.
func (u *unwritten[T]) len() int { return u.messages }
