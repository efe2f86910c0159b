package logstore

import (
	"cmp"

	"github.com/go-millrace/mqtt/flow"
)

// stage finds the net effect of the changes of one commit on an index, without changing the index.
type stage struct {
	x        *index
	places   map[uint64]int // the place in list, by Seq
	list     []staged
	received map[uint16]bool // whether the identifier is held after the commit
	ids      []uint16        // the keys of received in order of their first change
	cleared  bool            // the content of the index is gone
	session  *flow.SessionRecord
	assigned string // the client identifier that the broker assigned
}

// staged is a publication that a commit changes.
type staged struct {
	seq       uint64
	before    entry // in the index, if had is true
	had       bool
	accepted  *flow.Change // nil: it keeps its record
	completed bool
	flight    // after the commit
}

func newStage() *stage {
	return &stage{places: make(map[uint64]int), received: make(map[uint16]bool)}
}

// reset empties the stage. It keeps no reference to changes.
func (g *stage) reset(x *index) {
	clear(g.places)
	clear(g.list)
	clear(g.received)
	*g = stage{x: x, places: g.places, list: g.list[:0], received: g.received, ids: g.ids[:0]}
}

func (g *stage) add(changes []flow.Change) {
	for i := range changes {
		c := &changes[i]
		switch c.Kind {
		case flow.Accepted:
			p := g.publication(c.Seq, true)
			p.accepted, p.completed, p.flight = c, false, flight{}
		case flow.Assigned:
			if p := g.publication(c.Seq, false); p != nil {
				p.id = c.ID
			}
		case flow.Released:
			if p := g.publication(c.Seq, false); p != nil {
				p.released = true
			}
		case flow.Completed:
			if p := g.publication(c.Seq, false); p != nil {
				p.accepted, p.completed = nil, true
			}
		case flow.Received, flow.Forgotten:
			if _, ok := g.received[c.ID]; !ok {
				g.ids = append(g.ids, c.ID)
			}
			g.received[c.ID] = c.Kind == flow.Received
		case flow.Cleared:
			assigned := g.assigned // it outlasts the session
			g.reset(g.x)
			g.cleared, g.assigned = true, assigned
		case flow.Opened:
			if c.Session != nil {
				g.session, g.assigned = c.Session, cmp.Or(c.Session.ClientID, g.assigned)
			}
		}
	}
}

// publication returns the publication with a Seq. If the store does not have it, the result is nil,
// unless create is set.
func (g *stage) publication(seq uint64, create bool) *staged {
	if i, ok := g.places[seq]; ok {
		p := &g.list[i]
		if p.completed && !create {
			return nil
		}
		return p
	}
	before, had := g.x.entries[seq]
	had = had && !g.cleared
	if !had && !create {
		return nil
	}
	g.places[seq] = len(g.list)
	g.list = append(g.list, staged{seq: seq, before: before, had: had, flight: before.flight})
	return &g.list[len(g.list)-1]
}

// append appends the operations that lead from the index to the state after the commit. The client
// identifier of the attached session is owner. Without a net change it appends nothing.
func (g *stage) append(dst []byte, owner string) ([]byte, error) {
	from := len(dst)
	if g.clears() {
		dst = append(dst, byte(opCleared))
	}
	var err error
	for i := range g.list {
		switch p := &g.list[i]; {
		case p.accepted != nil:
			dst, err = appendPublication(append(dst, byte(opPublication)), p.accepted, p.flight)
		case p.completed && p.had:
			dst = appendCompleted(dst, p.seq)
		case !p.completed && p.flight != p.before.flight:
			dst = appendProgress(dst, p.seq, p.flight)
		}
		if err != nil {
			return dst[:from], err
		}
	}
	dst = g.appendReceived(dst)
	if g.session != nil && (g.cleared || !sameSession(g.session, g.x.session)) {
		if dst, err = appendSession(dst, g.session); err != nil {
			return dst[:from], err
		}
	}
	if owner = cmp.Or(g.assigned, owner); owner != g.x.owner && (len(dst) > from || g.session != nil || g.assigned != "") {
		if dst, err = appendOwner(dst, owner); err != nil {
			return dst[:from], err
		}
	}
	return dst, nil
}

// clears reports whether the commit removes content of the index with one operation.
func (g *stage) clears() bool { return g.cleared && (!g.x.empty() || g.x.session != nil) }

func (g *stage) appendReceived(dst []byte) []byte {
	for _, id := range g.ids {
		_, held := g.x.received[id]
		switch held = held && !g.cleared; {
		case g.received[id] && !held:
			dst = appendID(dst, opReceived, id)
		case !g.received[id] && held:
			dst = appendID(dst, opForgotten, id)
		}
	}
	return dst
}

// has reports whether the commit changes a publication.
func (g *stage) has(seq uint64) bool {
	_, ok := g.places[seq]
	return ok
}

// predict returns the tally after the commit, and subtracts from left, the numbers of live records
// in each segment, the records that the commit ends.
func (g *stage) predict(left []int) (t tally) {
	first := g.x.segments[0].number
	if t = g.x.tally; g.cleared {
		t = tally{}
		clear(left)
	}
	for i := range g.list {
		p := &g.list[i]
		if p.had && (p.completed || p.accepted != nil) {
			t.remove(p.seq)
			left[p.before.segment-first]--
		}
		if p.accepted != nil {
			t.add(p.seq)
		}
	}
	return t
}

func sameSession(a, b *flow.SessionRecord) bool {
	return a != nil && b != nil && a.Version == b.Version && a.ClientID == b.ClientID && a.Expiry == b.Expiry &&
		a.Seen.Unix() == b.Seen.Unix()
}

// shrink frees memory that an unusually large commit has used.
func (g *stage) shrink() {
	if cap(g.list) > 1<<14 {
		g.list, g.places = nil, make(map[uint64]int)
	}
}
