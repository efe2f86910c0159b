//go:build unix && !solaris && !aix && !android

package boltstore

import (
	"errors"
	"os"
	"syscall"
)

// atomic says that a file can be renamed while it is open, and that flock holds
// what bbolt holds.
const atomic = true

// lock takes the lock of bbolt, which finds it taken by the same open file and
// is content. Nobody waits.
func lock(f *os.File) (free bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// syncDir makes a rename last.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
