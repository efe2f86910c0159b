package logstore

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/go-millrace/mqtt/flow"
)

// Options configures [Open]. The zero value and nil mean the defaults.
type Options struct {
	// NoSync lets Commit return before the changes are on disk. A killed process loses nothing; a
	// power failure may lose the last commits, or leave a damaged store.
	NoSync bool

	// FileMode is the mode of new files, before umask. The default is 0600, since the files hold
	// messages. The mode of a new folder adds the right to search to each right to read.
	FileMode fs.FileMode

	// SegmentSize is the number of bytes that a new segment reserves on the disk. The default is 4
	// MiB, the minimum 4 KiB. A commit that needs more gets a segment of its size.
	SegmentSize int64
}

const (
	defaultSegment = 4 << 20
	minSegment     = 4 << 10
)

// Store is a [flow.Store] in a folder. Its methods are safe for concurrent use.
type Store struct {
	path    string
	options Options

	mu       sync.Mutex
	closed   bool
	attached bool
	owner    string // the client identifier of the attached session
	marked   bool   // the last frame is empty

	dir     folder
	lock    *os.File // nil in tests with another folder
	index   *index
	head    head
	stage   *stage
	compact compactor
	remove  remover
	buf     []byte // reused for the frame of each commit
	left    []int  // reused for the numbers of live records in the segments
}

var _ flow.Store = (*Store)(nil)

// Attach implements [flow.Store]. It reads all publications from the disk. The caller owns the
// snapshot.
func (s *Store) Attach(clientID string) (flow.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return flow.Snapshot{}, err
	}
	if s.attached {
		return flow.Snapshot{}, flow.ErrInUse
	}
	if err := s.head.heal(); err != nil {
		return flow.Snapshot{}, s.named(err)
	}
	owner := s.index.owner
	if clientID != "" && clientID != owner {
		if !s.index.empty() {
			return flow.Snapshot{}, s.named(&flow.OwnerError{Owner: owner, Asked: clientID})
		}
		owner = clientID
	}
	snap, err := readSnapshot(s.dir, s.index, damage)
	if err != nil {
		return flow.Snapshot{}, s.named(err)
	}
	if owner != s.index.owner && s.index.session != nil { // the record of a session that ends here
		s.stage.reset(s.index)
		s.stage.add([]flow.Change{{Kind: flow.Cleared}})
		if err := s.write(owner); err != nil {
			return flow.Snapshot{}, s.named(err)
		}
		snap.Session = nil
	}
	s.attached, s.owner = true, owner // otherwise the first commit writes the owner to the disk
	snap.Owner = owner
	return snap, nil
}

// Commit implements [flow.Store]. Each Commit is one frame, which is on disk when Commit returns,
// unless NoSync is set. After an error the same changes can be committed again.
func (s *Store) Commit(changes []flow.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if !s.attached {
		return s.named(errNotAttached)
	}
	if err := s.head.heal(); err != nil {
		return s.named(err)
	}
	s.stage.reset(s.index)
	s.stage.add(changes)
	assigned := s.stage.assigned
	err := s.write(s.owner)
	s.stage.reset(s.index)
	s.stage.shrink()
	if err != nil {
		return s.named(err)
	}
	s.owner = cmp.Or(assigned, s.owner)
	return nil
}

// Detach implements [flow.Store]. The store stays open and locked, and can be attached again.
func (s *Store) Detach() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached = false
	return nil
}

// Close waits for a running commit and closes the store. A session that is still attached gets
// errors from then on. Close is idempotent.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.mark()
	s.closed, s.buf, s.stage = true, nil, nil
	err := errors.Join(s.compact.close(), s.head.close())
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if err != nil {
		return s.named(err)
	}
	return nil
}

// mark writes an empty frame, if it costs no segment. A damaged last commit then differs from a
// torn one, since a valid frame follows it. Without the mark nothing is lost.
func (s *Store) mark() {
	if s.marked || s.head.suspect || s.head.unsynced || s.head.room() < int64(frameHeader) {
		return
	}
	f := frame{number: s.head.next, first: s.index.segments[0].number, tally: s.index.tally}
	_ = s.head.write(seal(make([]byte, frameHeader), f, s.head.salt))
}

func (s *Store) usable() error {
	if s.closed {
		return s.named(fs.ErrClosed)
	}
	return nil
}

// named adds the path of the store to an error.
func (s *Store) named(err error) error {
	if d := new(DamageError); errors.As(err, &d) {
		d.Path = s.path
		return err
	}
	return fmt.Errorf("logstore: %s: %w", s.path, err)
}
