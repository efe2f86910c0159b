//go:build !wasm

package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/go-millrace/mqtt/flow"
)

// Options configures [Open]. The zero value and nil mean the defaults.
type Options struct {
	// NoSync lets Commit return before the changes are on disk. A killed process loses nothing; a
	// power failure may lose the last commits, or leave a damaged file.
	NoSync bool

	// FileMode is the mode of a new file, before umask. The default is 0600, since the file holds
	// messages.
	FileMode fs.FileMode

	// Fallback lets Open accept a file with one damaged header page, and use the state of the other
	// header page, which may lack the last commit. See the package comment, "A damaged file".
	Fallback bool
}

// Store is a [flow.Store] in a file. Its methods are safe for concurrent use.
type Store struct {
	path    string
	options Options

	mu       sync.Mutex
	closed   bool
	attached bool
	owner    string // the client identifier of the attached session
	broken   error  // set when bbolt has panicked; bbolt may then hold its locks for ever
	unsynced bool   // the header pages as read may not be on disk; see resync

	db   *bbolt.DB
	file *os.File // the file of db; db closes it
	buf  []byte   // reused for the values of each commit

	commit func(*bbolt.Tx) error // (*bbolt.Tx).Commit
	sync   func() error          // syncs the file
}

var _ flow.Store = (*Store)(nil)

// Open opens the store at path, and creates it if there is no file or an empty one. The folder must
// exist. Open reads the whole file. Until Close, no other Open of the file succeeds, in this
// process or another.
func Open(path string, o *Options) (*Store, error) {
	if path == "" {
		return nil, errors.New("boltstore: the path is empty")
	}
	s := &Store{path: path, commit: (*bbolt.Tx).Commit}
	s.sync = func() error { return s.file.Sync() }
	if o != nil {
		s.options = *o
	}
	if s.options.FileMode == 0 {
		s.options.FileMode = 0o600
	}
	err := errRaced
	for i := 0; i < 10 && errors.Is(err, errRaced); i++ {
		var missing bool
		if missing, err = s.openExisting(); missing && err == nil {
			err = s.create()
		}
	}
	if err != nil {
		return nil, err
	}
	s.db.NoSync = s.options.NoSync
	return s, nil
}

// Attach implements [flow.Store]. It reads the whole file. The caller owns the snapshot.
func (s *Store) Attach(clientID string) (flow.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return flow.Snapshot{}, err
	}
	if s.attached {
		return flow.Snapshot{}, flow.ErrInUse
	}
	if err := s.resync(); err != nil {
		return flow.Snapshot{}, err
	}
	info, err := s.file.Stat()
	if err != nil {
		return flow.Snapshot{}, fmt.Errorf("boltstore: %w", err)
	}
	c := content{im: &image{r: s.file, size: info.Size(), path: s.path}, keep: true}
	if err := c.read(s.options.Fallback); err != nil {
		return flow.Snapshot{}, err
	}
	owner := c.state.owner
	if clientID != "" && clientID != owner {
		if !c.snap.Empty() {
			return flow.Snapshot{}, fmt.Errorf("boltstore: %s: %w", s.path, &flow.OwnerError{Owner: owner, Asked: clientID})
		}
		owner = clientID
	}
	if owner != c.state.owner && c.snap.Session != nil { // the record of a session that ends here
		if err := s.apply(&netChanges{cleared: true, owner: owner}); err != nil {
			return flow.Snapshot{}, err
		}
		c.snap.Session = nil
	}
	s.attached, s.owner = true, owner // otherwise the first commit writes the owner to the file
	c.snap.Owner = owner
	return c.snap, nil
}

// Detach implements [flow.Store]. The file stays open and locked, and the store can be attached
// again.
func (s *Store) Detach() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached = false
	return nil
}

// Close waits for a running commit and closes the file. A session that is still attached gets
// errors from then on. Close is idempotent.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed, s.buf = true, nil
	var err error
	if s.broken != nil {
		err = s.file.Close() // closing bbolt could deadlock, so the file stays mapped
	} else {
		err = s.db.Close()
	}
	if err != nil {
		return fmt.Errorf("boltstore: %s: %w", s.path, err)
	}
	return nil
}

func (s *Store) usable() error {
	if s.closed {
		return fmt.Errorf("boltstore: %s: %w", s.path, fs.ErrClosed)
	}
	return s.broken
}
