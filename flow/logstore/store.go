package logstore

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
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
	snap, err := s.snapshot()
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

// snapshot reads all publications.
func (s *Store) snapshot() (snap flow.Snapshot, err error) {
	type place struct {
		seq uint64
		entry
	}
	x := s.index
	places := make([]place, 0, len(x.entries))
	for seq, e := range x.entries {
		places = append(places, place{seq, e})
	}
	slices.SortFunc(places, func(a, b place) int { // each file once, from its start
		return cmp.Or(cmp.Compare(a.segment, b.segment), cmp.Compare(a.offset, b.offset))
	})
	var r recordReader
	for _, p := range places {
		var restored flow.Publication
		if restored, err = r.read(s.dir, p.seq, p.entry); err != nil {
			break
		}
		snap.Publications = append(snap.Publications, restored)
	}
	if err = errors.Join(err, r.close()); err != nil {
		return flow.Snapshot{}, damage(err)
	}
	slices.SortFunc(snap.Publications, func(a, b flow.Publication) int { return cmp.Compare(a.Seq, b.Seq) })
	for id := range x.received {
		snap.Received = append(snap.Received, id)
	}
	slices.Sort(snap.Received)
	if x.session != nil {
		record := *x.session
		snap.Session = &record
	}
	snap.Owner = x.owner
	return snap, nil
}

// recordReader reads records one after another.
type recordReader struct {
	compactor
	buf   []byte
	topic string
}

func (r *recordReader) read(dir folder, seq uint64, e entry) (p flow.Publication, err error) {
	if r.dir = dir; r.f == nil || r.of != e.segment {
		if err := r.open(e.segment); err != nil {
			return p, err
		}
	}
	r.buf = slices.Grow(r.buf[:0], e.size)[:e.size]
	if err := readRecord(r.f, r.buf, seq, e); err != nil {
		return p, err
	}
	record, _, _ := parsePublication(r.buf)
	record.flight = e.flight
	if p, err = record.restore(); err != nil {
		return p, &damagedRecord{e, seq, err}
	}
	if r.topic != string(record.topic) { // neighbours often share a topic
		r.topic = string(record.topic)
	}
	p.Message.Topic = r.topic
	return p, nil
}

// damage returns a DamageError for a damaged record, and other errors as they are.
func damage(err error) error {
	r := new(damagedRecord)
	if !errors.As(err, &r) {
		return err
	}
	d := new(DamageError)
	d.add(r.segment, r.offset, "%v", r)
	return d
}
