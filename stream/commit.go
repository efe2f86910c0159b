package stream

import (
	"sync"
	"time"

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

	// Owned by the loop.
	began    time.Duration // when the writer got its batch
	reported bool          // that the commit is slow was logged
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

// age returns how long a commit has been under way, 0 if there is none. A nil gate has none.
func (g *commitGate) age(now time.Duration) time.Duration {
	if !g.during(func() bool { return true }) {
		return 0
	}
	return max(1, now-g.began)
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
