package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/go-millrace/mqtt/flow"
)

// newSuffix is on the name of a file that is being made.
const newSuffix = ".new"

// openExisting opens a file that is there. fresh says that there is none, or an
// empty one.
func (s *Store) openExisting() (missing bool, err error) {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("boltstore: %w", err)
	}
	if missing, err = s.lockAndCheck(f); missing || err != nil {
		return missing, errors.Join(err, f.Close())
	}
	return false, s.openBolt(f)
}

// adopt locks a file and reads it.
func (s *Store) lockAndCheck(f *os.File) (missing bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("boltstore: %w", err)
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("boltstore: %s is not a regular file but %s", s.path, info.Mode().Type())
	}
	if err := s.lock(f); err != nil {
		return false, err
	}
	if info, err = f.Stat(); err != nil { // again: nobody changes it any more
		return false, fmt.Errorf("boltstore: %w", err)
	}
	if info.Size() == 0 {
		return true, nil
	}
	c := content{im: &image{r: f, size: info.Size(), path: s.path}}
	return false, c.read(s.options.Fallback)
}

func (s *Store) lock(f *os.File) error {
	free, err := lock(f)
	switch {
	case err != nil:
		return fmt.Errorf("boltstore: %s cannot be locked: %w", s.path, err)
	case !free:
		return inUse(s.path)
	}
	return nil
}

func inUse(path string) error {
	return fmt.Errorf("boltstore: %s is open already, in this process or another: %w", path, flow.ErrInUse)
}

func foreign(path string) error { return fmt.Errorf("boltstore: %s: %w", path, ErrForeign) }

// create makes a new store. Until it is whole it has another name.
func (s *Store) create() error {
	if !atomic {
		return s.createAt(s.path)
	}
	// A symbolic link stays one.
	if real, err := filepath.EvalSymlinks(s.path); err == nil {
		return s.createAt(real)
	}
	return s.createAt(resolveLink(s.path))
}

// follow returns where a symbolic link leads whose file is still to be made.
func resolveLink(path string) string {
	for range 40 { // as many as Linux follows
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) { // not Join, which takes .. for the folder that the name shows
			to = filepath.Dir(path) + string(filepath.Separator) + to
		}
		path = to
	}
	return path
}

func (s *Store) createAt(path string) error {
	name := path
	if atomic {
		name += newSuffix
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, s.options.FileMode)
	if err != nil {
		return fmt.Errorf("boltstore: %w", err)
	}
	if err := s.claim(f, name, path); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := s.openBolt(f); err != nil {
		if atomic { // if it is another's by now, that one begins again
			err = errors.Join(err, os.Remove(name))
		}
		return err
	}
	err = s.initialise()
	if errors.As(err, new(panicError)) {
		s.broken = err
	}
	if err == nil && atomic {
		if err = os.Rename(name, path); err == nil {
			name, err = path, syncDir(filepath.Dir(path))
		} else if errors.Is(err, fs.ErrNotExist) {
			return errors.Join(errRaced, s.Close())
		}
	}
	if err != nil {
		if name != path { // still locked, so it is nobody else's
			err = errors.Join(err, os.Remove(name))
		}
		return errors.Join(fmt.Errorf("boltstore: a new store cannot be made: %w", err), s.Close())
	}
	return nil
}

// claim makes sure that f is ours, is what name says, and has nothing in it.
func (s *Store) claim(f *os.File, name, path string) error {
	if err := s.lock(f); err != nil {
		return err
	}
	if !atomic {
		return nil
	}
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Stat(name); err != nil || !os.SameFile(mine, there) {
		return errRaced // it was renamed between open and lock
	}
	if there, err := os.Stat(path); err == nil && there.Size() > 0 {
		return errors.Join(errRaced, os.Remove(name)) // another process was quicker
	}
	return f.Truncate(0) // what a process that was killed has left
}

// hand gives a locked file to bbolt, and closes it if bbolt does not take it.
func (s *Store) openBolt(f *os.File) error {
	err := guarded(func() (err error) {
		s.db, err = bbolt.Open(s.path, s.options.FileMode, &bbolt.Options{
			Timeout:  1, // a nanosecond: it does not wait
			OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f, nil },
		})
		return err
	})
	switch {
	case err == nil:
		s.file = f
		return nil
	case errors.Is(err, berrors.ErrTimeout):
		err = inUse(s.path)
	default:
		err = fmt.Errorf("boltstore: %s: %w", s.path, err)
	}
	_ = f.Close() // bbolt may have done so
	s.db = nil
	return err
}

// initialise makes the buckets of a new store.
func (s *Store) initialise() error {
	return guarded(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			var err error
			for _, name := range []string{metaBucket, publicationsBucket, flightBucket, receivedBucket} {
				_, e := tx.CreateBucket([]byte(name))
				err = errors.Join(err, e)
			}
			if err != nil {
				return err
			}
			m := tx.Bucket([]byte(metaBucket))
			return errors.Join(m.Put(formatKey, appendFormat(nil, version)), m.Put(stateKey, new(state).append(nil)))
		})
	})
}

// panicked is what came out of bbolt.
type panicError struct{ value any }

func (p panicError) Error() string { return fmt.Sprintf("bbolt gave up: %v", p.value) }

// guarded turns a panic of bbolt, and a page of the mapped file that is no
// longer there, into an error.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = panicError{p}
		}
	}()
	return f()
}
