package integration

import (
	"sync"
	"testing"

	"github.com/go-millrace/mqtt/flow"
)

// A torturedStore is a Store in memory whose content can be kept as it is when its client is
// killed. Until then, a second store mirrors its commits.
type torturedStore struct {
	t        *testing.T
	clientID string
	*flow.MemoryStore

	mu     sync.Mutex
	mirror *flow.MemoryStore
	dead   bool          // commits have no effect on the mirror
	empty  chan struct{} // set by awaitEmpty, and closed when the mirror is empty
}

func newTorturedStore(t *testing.T, clientID string) *torturedStore {
	s := &torturedStore{t: t, clientID: clientID, MemoryStore: flow.NewMemoryStore(), mirror: flow.NewMemoryStore()}
	s.own(s.mirror)
	return s
}

// own makes clientID the owner of a store, and returns the content of the store.
func (s *torturedStore) own(store *flow.MemoryStore) flow.Snapshot {
	snap, err := store.Attach(s.clientID)
	if err != nil {
		s.t.Errorf("%s: %v", s.clientID, err)
	}
	store.Detach()
	return snap
}

func (s *torturedStore) Commit(changes []flow.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dead {
		s.mirror.Commit(changes)
	}
	if s.empty != nil && s.own(s.mirror).Empty() {
		close(s.empty)
		s.empty = nil
	}
	return s.MemoryStore.Commit(changes)
}

// awaitEmpty returns a channel that is closed when the store is empty.
func (s *torturedStore) awaitEmpty() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	empty := make(chan struct{})
	if s.own(s.mirror).Empty() {
		close(empty)
	} else {
		s.empty = empty
	}
	return empty
}

// kill returns the store of the next client: it has all that was committed up to now.
func (s *torturedStore) kill() *torturedStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	next := &torturedStore{t: s.t, clientID: s.clientID, MemoryStore: s.mirror, mirror: flow.NewMemoryStore()}
	s.own(next.mirror)
	snap := s.own(s.mirror)
	if snap.Session != nil {
		next.mirror.Commit([]flow.Change{{Kind: flow.Opened, Session: snap.Session}})
	}
	for _, p := range snap.Publications {
		changes := []flow.Change{{Kind: flow.Accepted, Seq: p.Seq, Message: p.Message, Deadline: p.Deadline}}
		if p.ID != 0 {
			changes = append(changes, flow.Change{Kind: flow.Assigned, Seq: p.Seq, ID: p.ID})
		}
		if p.Released {
			changes = append(changes, flow.Change{Kind: flow.Released, Seq: p.Seq})
		}
		next.mirror.Commit(changes)
	}
	for _, id := range snap.Received {
		next.mirror.Commit([]flow.Change{{Kind: flow.Received, ID: id}})
	}
	return next
}
