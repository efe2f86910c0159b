package flow

import "github.com/go-millrace/mqtt/flow/list"

// unwritten is a FIFO of the QoS 0 runs in batches whose write is not confirmed. Its entries stay
// in their slots of the slab, which every method takes, so that their handles stay valid.
//
// Invariant: the batch numbers and the sequence numbers ascend.
type unwritten[T any] struct {
	list.List
	messages int // of all runs
}

// push appends the run in slot i, which is in no list, as part of batch.
func (u *unwritten[T]) push(s *slab[T], i int32, batch uint64) {
	e := &s.entries[i]
	e.state, e.batch = published, batch
	u.PushBack(s.links, i)
	u.messages += e.len()
}

// remove removes the run in slot i.
func (u *unwritten[T]) remove(s *slab[T], i int32) {
	u.List.Remove(s.links, i)
	u.messages -= s.entries[i].len()
}

// written returns the slot of the first run if its batch number is at most batch, otherwise 0.
func (u *unwritten[T]) written(s *slab[T], batch uint64) int32 {
	if u.Head == 0 || s.entries[u.Head].batch > batch {
		return 0
	}
	return u.Head
}
