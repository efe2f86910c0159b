//go:build !wasm

package boltstore

import (
	"cmp"
	"slices"

	"github.com/go-millrace/mqtt/flow"
)

// netChange is the net effect of one commit on one publication.
type netChange struct {
	seq       uint64
	accepted  *flow.Change // set if the commit accepts the publication and does not complete it afterwards
	completed bool         // set if the commit completes the publication and does not accept it afterwards

	// If accepted is set, flight is the whole progress of the publication. Otherwise flight has
	// only the changed fields, for a publication that may be in the file.
	flight
	assigned bool // id was changed
}

// receivedChange is the net effect of one commit on an identifier of a received message.
type receivedChange struct {
	id   uint16
	held bool // received and not forgotten
}

// netChanges is the net effect of one commit, in the order of keys. It refers to the changes.
type netChanges struct {
	cleared      bool // the content of the file must be removed first
	publications []netChange
	received     []receivedChange
	session      *flow.SessionRecord // nil: it does not change, or is removed with the content
	owner        string              // the client identifier that the broker assigned; "": none
}

// empty reports whether the commit has no effect on any file.
func (n *netChanges) empty() bool {
	return !n.cleared && len(n.publications)+len(n.received) == 0 && n.session == nil && n.owner == ""
}

// fold reduces changes to their net effect.
func fold(changes []flow.Change) (n netChanges) {
	begin := 0
	for i, c := range changes {
		switch {
		case c.Kind == flow.Cleared:
			n.cleared, n.session, begin = true, nil, i+1
		case c.Kind == flow.Opened && c.Session != nil:
			n.session = c.Session
			if c.Session.ClientID != "" {
				n.owner = c.Session.ClientID // it outlasts a later Cleared
			}
		}
	}
	n.fold(changes[begin:])
	return n
}

// fold adds the net effect of changes that are not followed by Cleared.
func (n *netChanges) fold(changes []flow.Change) {
	order := make([]int32, 0, len(changes))
	for i, c := range changes {
		switch c.Kind {
		case flow.Accepted, flow.Assigned, flow.Released, flow.Completed:
			order = append(order, int32(i))
		case flow.Received, flow.Forgotten:
			n.received = append(n.received, receivedChange{c.ID, c.Kind == flow.Received})
		}
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(changes[a].Seq, changes[b].Seq) })
	for _, i := range order {
		c := &changes[i]
		if last := len(n.publications) - 1; last < 0 || n.publications[last].seq != c.Seq {
			n.publications = append(n.publications, netChange{seq: c.Seq})
		}
		n.publications[len(n.publications)-1].apply(c)
	}
	slices.SortStableFunc(n.received, func(a, b receivedChange) int { return cmp.Compare(a.id, b.id) })
	last := n.received[:0]
	for i, t := range n.received {
		if i+1 == len(n.received) || n.received[i+1].id != t.id {
			last = append(last, t)
		}
	}
	n.received = last
}

func (o *netChange) apply(c *flow.Change) {
	switch c.Kind {
	case flow.Accepted:
		*o = netChange{seq: c.Seq, accepted: c}
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
