//go:build unix && !solaris && !aix

package logstore

import (
	"errors"
	"os"
	"syscall"
)

// lock locks f until f is closed. If another open file has the lock, it returns false at once.
func lock(f *os.File) (free bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
