package stream

import (
	"sync"

	"github.com/go-millrace/mqtt/flow"
)

// A commitGate tells whether the writer is inside a commit of the Store. The bytes of its batch wait
// for the commit, and the connection is free meanwhile: the loop may write a PINGREQ, which depends
// on no change of the session.
//
// Invariant: the writer leaves the gate before it writes, and cannot leave while the loop writes.
type commitGate struct {
	mu       sync.Mutex
	underWay bool
}

// commit passes the changes to the Store.
func (g *commitGate) commit(store flow.Store, changes []flow.Change) error {
	g.set(true)
	defer g.set(false)
	return store.Commit(changes)
}

func (g *commitGate) set(underWay bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.underWay = underWay
}

// during calls write, which must not wait, if a commit is under way, and returns its result.
func (g *commitGate) during(write func() bool) bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.underWay && write()
}
