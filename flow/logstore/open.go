package logstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-millrace/mqtt/flow"
)

const lockName = "lock"

// Open opens the store in the folder path, and creates it if there is no folder or an empty one.
// The parent folder must exist. Open reads all segments. Until Close, no other Open of the folder
// succeeds, in this process or another.
func Open(path string, o *Options) (*Store, error) {
	if path == "" {
		return nil, errors.New("logstore: the path is empty")
	}
	s := newStore(path, o)
	dir := &diskFolder{path: path, mode: s.options.FileMode}
	if err := s.openFolder(dir); err != nil {
		return nil, err
	}
	if err := s.load(dir); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	return s, nil
}

func newStore(path string, o *Options) *Store {
	s := &Store{path: path, stage: newStage()}
	if o != nil {
		s.options = *o
	}
	if s.options.FileMode == 0 {
		s.options.FileMode = 0o600
	}
	if s.options.SegmentSize == 0 {
		s.options.SegmentSize = defaultSegment
	}
	s.options.SegmentSize = max(s.options.SegmentSize, minSegment)
	return s
}

// openFolder creates the folder if it does not exist, and locks it. It changes no folder that is
// not a store.
func (s *Store) openFolder(dir *diskFolder) error {
	err := os.Mkdir(s.path, s.options.FileMode|s.options.FileMode>>2&0o111)
	switch {
	case err == nil:
		err = syncFolder(filepath.Dir(filepath.Clean(s.path)))
	case errors.Is(err, fs.ErrExist):
		err = nil
	case errors.Is(err, fs.ErrPermission) || !errors.Is(err, fs.ErrNotExist):
		if _, e := os.Stat(s.path); e == nil { // a read-only file system
			err = nil
		}
	}
	if err == nil {
		err = s.recognise(dir)
	}
	if err != nil {
		return fmt.Errorf("logstore: %w", err)
	}
	return s.acquire(dir)
}

// recognise returns an error if the folder has no segment and files of others.
func (s *Store) recognise(dir folder) error {
	names, err := dir.list()
	if err != nil {
		return err
	}
	own := func(name string) bool { return segmentNumber(strings.TrimSuffix(name, newSuffix)) != 0 }
	if slices.ContainsFunc(names, own) {
		return nil
	}
	for _, name := range names {
		if name != lockName && name != "lost+found" { // the latter is in each root folder of a disk
			return fmt.Errorf("%s: %w: it holds %q", s.path, ErrForeign, name)
		}
	}
	return nil
}

// acquire locks the folder.
func (s *Store) acquire(dir *diskFolder) error {
	f, err := os.OpenFile(dir.join(lockName), os.O_RDWR|os.O_CREATE, s.options.FileMode)
	if err != nil {
		return fmt.Errorf("logstore: %w", err)
	}
	free, err := lock(f)
	switch {
	case err != nil:
		err = fmt.Errorf("logstore: cannot lock %s: %w", s.path, err)
	case !free:
		err = fmt.Errorf("logstore: %s is open already, in this process or another: %w", s.path, flow.ErrInUse)
	default:
		s.lock = f
		return nil
	}
	return errors.Join(err, f.Close())
}

// load reads the segments, or creates the first one.
func (s *Store) load(dir folder) error {
	s.dir, s.compact.dir, s.remove.dir = dir, dir, dir
	r, err := replay(dir, s.path)
	if err != nil {
		if errors.As(err, new(*DamageError)) || errors.As(err, new(*FormatError)) {
			return err
		}
		return s.named(err)
	}
	if err := s.removeNew(); err != nil {
		return s.named(err)
	}
	if s.index = r.index; s.index == nil {
		return s.create()
	}
	s.head = head{dir: dir, number: s.index.head().number, salt: r.salt, size: r.size,
		end: r.last.end, last: r.last.last, next: r.last.next, noSync: s.options.NoSync, unsynced: true}
	s.marked = r.last.head.length == 0
	s.remove.stale = r.stale
	s.remove.run()
	if err := s.head.open(); err != nil {
		return s.named(err)
	}
	return nil
}

// create creates the first segment.
func (s *Store) create() error {
	s.index = newIndex()
	s.head = head{dir: s.dir, next: 1, noSync: s.options.NoSync}
	base := s.index.appendBase(nil)
	if err := s.head.rotate(base, frame{first: 1}, s.options.SegmentSize, minSegment); err != nil {
		return fmt.Errorf("logstore: cannot create a new store: %w", err)
	}
	s.index.segments = []*segment{{number: 1, end: s.head.end}}
	s.marked = true
	return nil
}

// removeNew removes segments that a killed process has not completed.
func (s *Store) removeNew() error {
	names, err := s.dir.list()
	for _, name := range names {
		if number, ok := strings.CutSuffix(name, newSuffix); ok && segmentNumber(number) != 0 {
			err = errors.Join(err, s.dir.remove(name))
		}
	}
	return err
}
