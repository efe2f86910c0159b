package logstore

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-millrace/mqtt/flow"
)

// Import creates a store in the folder path with the session of another store, such as one of
// package boltstore. The session must not be in use. It does not change the other store.
//
//	old, err := boltstore.Open("/var/lib/pump/session.db", nil)
//	...
//	err = logstore.Import("/var/lib/pump/session", old, nil)
//	if err == nil || errors.Is(err, fs.ErrExist) { // killed before it removed the file
//		err = errors.Join(old.Close(), os.Remove("/var/lib/pump/session.db"))
//	}
//
// Errors are those of [Create], and those of Attach of the other store.
func Import(path string, from flow.Store, o *Options) error {
	snap, err := from.Attach("")
	if err != nil {
		return err
	}
	return errors.Join(Create(path, snap, o), from.Detach())
}

// Create creates a store in the folder path with the content of a snapshot, such as the result of
// [Salvage]. The store is on disk when Create returns, and holds all of the snapshot or nothing. If
// the folder holds a session already, Create does not change it, and the error is fs.ErrExist. The
// messages may have 1 GiB in total.
func Create(path string, snap flow.Snapshot, o *Options) error {
	s, err := Open(path, o)
	if err != nil {
		return err
	}
	return errors.Join(s.fill(snap), s.Close())
}

func (s *Store) fill(snap flow.Snapshot) error {
	there, err := s.Attach("")
	if err != nil {
		return err
	}
	if !there.Empty() || there.Session != nil {
		return fmt.Errorf("logstore: %s holds a session: %w", s.path, fs.ErrExist)
	}
	var changes []flow.Change
	for i := range snap.Publications {
		p := &snap.Publications[i]
		changes = append(changes, flow.Change{Kind: flow.Accepted, Seq: p.Seq, Message: p.Message, Deadline: p.Deadline})
		if p.ID != 0 {
			changes = append(changes, flow.Change{Kind: flow.Assigned, Seq: p.Seq, ID: p.ID})
		}
		if p.Released {
			changes = append(changes, flow.Change{Kind: flow.Released, Seq: p.Seq})
		}
	}
	for _, id := range snap.Received {
		changes = append(changes, flow.Change{Kind: flow.Received, ID: id})
	}
	if snap.Session != nil {
		changes = append(changes, flow.Change{Kind: flow.Opened, Session: snap.Session})
	}
	s.mu.Lock()
	s.owner = snap.Owner
	s.mu.Unlock()
	return s.Commit(changes)
}
