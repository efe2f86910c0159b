package flow

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
)

// ErrInUse means that the store is attached to another session.
var ErrInUse = errors.New("the store is in use by another session")

// MemoryStore is a [Store] in memory. Clients that use it one after another continue the same
// session. The session outlives each client object, but not the process.
type MemoryStore struct {
	mu           sync.Mutex
	attached     bool
	owner        string // the client identifier of the session
	session      *SessionRecord
	publications map[uint64]Publication
	received     map[uint16]struct{}
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{
		publications: make(map[uint64]Publication),
		received:     make(map[uint16]struct{}),
	}
}

// Attach implements [Store].
func (s *MemoryStore) Attach(clientID string) (Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attached {
		return Snapshot{}, ErrInUse
	}
	snap := Snapshot{
		Publications: slices.SortedFunc(maps.Values(s.publications), func(a, b Publication) int {
			return cmp.Compare(a.Seq, b.Seq)
		}),
		Received: slices.Sorted(maps.Keys(s.received)),
	}
	for i := range snap.Publications { // the caller may change the payloads that it receives
		snap.Publications[i].Message = snap.Publications[i].Message.Clone()
	}
	if clientID != "" && clientID != s.owner {
		if !snap.Empty() {
			return Snapshot{}, &OwnerError{Owner: s.owner, Asked: clientID}
		}
		s.owner, s.session = clientID, nil
	}
	s.attached, snap.Owner = true, s.owner
	if s.session != nil {
		record := *s.session
		snap.Session = &record
	}
	return snap, nil
}

// Commit implements [Store]. It never fails.
func (s *MemoryStore) Commit(changes []Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range changes {
		s.apply(c)
	}
	return nil
}

func (s *MemoryStore) apply(c Change) {
	switch c.Kind {
	case Accepted:
		s.publications[c.Seq] = Publication{Seq: c.Seq, Message: c.Message.Clone(), Deadline: c.Deadline}
	case Assigned, Released:
		p, ok := s.publications[c.Seq]
		if !ok {
			return
		}
		if c.Kind == Assigned {
			p.ID = c.ID
		} else {
			p.Released = true
		}
		s.publications[c.Seq] = p
	case Completed:
		delete(s.publications, c.Seq)
	case Received:
		s.received[c.ID] = struct{}{}
	case Forgotten:
		delete(s.received, c.ID)
	case Cleared:
		clear(s.publications)
		clear(s.received)
		s.session = nil
	case Opened:
		s.open(c.Session)
	}
}

func (s *MemoryStore) open(r *SessionRecord) {
	if r == nil {
		return
	}
	record := *r
	s.session = &record
	if r.ClientID != "" {
		s.owner = r.ClientID
	}
}

// Detach implements [Store].
func (s *MemoryStore) Detach() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached = false
	return nil
}
