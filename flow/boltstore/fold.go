//go:build !wasm

package boltstore

import (
	"cmp"
	"slices"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// netChange is the net effect of one commit on one publication.
type netChange struct {
	seq       uint64
	message   *frames.Message // set if the commit accepts the publication and does not complete it afterwards
	completed bool            // set if the commit completes the publication and does not accept it afterwards

	// If message is set, flight is the whole progress of the publication. Otherwise flight has only
	// the changed fields, for a publication that may be in the file.
	flight
	assigned bool // id was changed
}

// receivedChange is the net effect of one commit on an identifier of a received message.
type receivedChange struct {
	id   uint16
	held bool // received and not forgotten
}

// fold reduces changes to their net effect, in the order of keys. If it returns cleared, the
// content of the file must be removed first.
func fold(changes []flow.Change) (cleared bool, publications []netChange, received []receivedChange) {
	for i := len(changes) - 1; i >= 0; i-- {
		if changes[i].Kind == flow.Cleared {
			cleared, changes = true, changes[i+1:]
			break
		}
	}
	order := make([]int32, 0, len(changes))
	for i, c := range changes {
		switch c.Kind {
		case flow.Accepted, flow.Assigned, flow.Released, flow.Completed:
			order = append(order, int32(i))
		case flow.Received, flow.Forgotten:
			received = append(received, receivedChange{c.ID, c.Kind == flow.Received})
		}
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(changes[a].Seq, changes[b].Seq) })
	for _, i := range order {
		c := &changes[i]
		if n := len(publications); n == 0 || publications[n-1].seq != c.Seq {
			publications = append(publications, netChange{seq: c.Seq})
		}
		publications[len(publications)-1].apply(c)
	}
	slices.SortStableFunc(received, func(a, b receivedChange) int { return cmp.Compare(a.id, b.id) })
	last := received[:0]
	for i, t := range received {
		if i+1 == len(received) || received[i+1].id != t.id {
			last = append(last, t)
		}
	}
	return cleared, publications, last
}

func (o *netChange) apply(c *flow.Change) {
	switch c.Kind {
	case flow.Accepted:
		*o = netChange{seq: c.Seq, message: &c.Message}
	case flow.Completed:
		*o = netChange{seq: c.Seq, completed: true}
	case flow.Assigned:
		if !o.completed {
			o.id, o.assigned = c.ID, true
		}
	case flow.Released:
		if !o.completed {
			o.released = true
		}
	}
}
