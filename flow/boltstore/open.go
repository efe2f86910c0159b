//go:build !wasm

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

// newSuffix is the suffix of the name of an incomplete new file.
const newSuffix = ".new"

// openExisting opens an existing file. The result missing is true if there is no file, or an empty
// file.
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
	s.unsynced = true // a process that was killed may have left unsynced pages
	return false, s.openBolt(f)
}

// lockAndCheck locks a file and checks its content.
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
	if info, err = f.Stat(); err != nil { // read it again, since nobody else changes a locked file
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
		return fmt.Errorf("boltstore: cannot lock %s: %w", s.path, err)
	case !free:
		return inUse(s.path)
	}
	return nil
}

func inUse(path string) error {
	return fmt.Errorf("boltstore: %s is open already, in this process or another: %w", path, flow.ErrInUse)
}

func foreign(path string) error { return fmt.Errorf("boltstore: %s: %w", path, ErrForeign) }

// create creates a new store. If atomic is true, the file has another name until it is complete.
func (s *Store) create() error {
	if !atomic {
		return s.createAt(s.path)
	}
	// If path is a symbolic link, keep the link and create its target.
	if real, err := filepath.EvalSymlinks(s.path); err == nil {
		return s.createAt(real)
	}
	return s.createAt(resolveLink(s.path))
}

// resolveLink returns the target of a symbolic link. The target need not exist.
func resolveLink(path string) string {
	for range 40 { // Linux, too, follows at most 40 links
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) { // filepath.Join would remove .. without resolving links
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
		if atomic { // another process that has opened the file meanwhile tries again
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
		if name != path { // the file is still locked, so no other process uses it
			err = errors.Join(err, os.Remove(name))
		}
		return errors.Join(fmt.Errorf("boltstore: cannot create a new store: %w", err), s.Close())
	}
	return nil
}

// claim locks f, checks that name still refers to f, and empties f.
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
		return errRaced // another process renamed f between open and lock
	}
	if there, err := os.Stat(path); err == nil && there.Size() > 0 {
		return errors.Join(errRaced, os.Remove(name)) // another process was faster
	}
	return f.Truncate(0) // a killed process may have left content in the file
}

// openBolt opens a locked file with bbolt, and closes the file if bbolt fails.
func (s *Store) openBolt(f *os.File) error {
	err := guarded(func() (err error) {
		s.db, err = bbolt.Open(s.path, s.options.FileMode, &bbolt.Options{
			Timeout:  1, // a nanosecond: do not wait
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
	_ = f.Close() // bbolt may have closed it already
	s.db = nil
	return err
}

// initialise creates the buckets of a new store.
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
			return errors.Join(m.Put(formatKey, appendFormat(nil, baseFormat)), m.Put(stateKey, new(state).append(nil)))
		})
	})
}

// panicError is a panic of bbolt.
type panicError struct{ value any }

func (p panicError) Error() string { return fmt.Sprintf("bbolt panicked: %v", p.value) }

// guarded calls f. It returns an error if bbolt panics, or if a page of the mapped file can no
// longer be read.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = panicError{p}
		}
	}()
	return f()
}
