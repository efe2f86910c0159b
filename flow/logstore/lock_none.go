//go:build (!unix && !windows) || solaris || aix

package logstore

import (
	"errors"
	"os"
)

// lock fails, since a store that two processes could open would lose messages.
func lock(*os.File) (free bool, err error) { return false, errors.ErrUnsupported }
