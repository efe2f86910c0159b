//go:build unix && !solaris && !aix && !android

package boltstore

import (
	"errors"
	"os"
	"syscall"
)

// atomic is true where an open file can be renamed, and flock and bbolt use the same lock.
const atomic = true

// lock acquires the lock that bbolt uses. bbolt can then acquire the lock again, since it uses the
// same open file. If the file is locked by another open file, lock returns false at once.
func lock(f *os.File) (free bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// syncDir makes a rename durable.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
