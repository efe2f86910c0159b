//go:build !unix || solaris || aix || android

package boltstore

import "os"

// atomic is false where bbolt locks in another way. Then a file is read before
// it is locked: one that is in use may be reported as damaged instead. And it is
// made where it is to be: a process that is killed meanwhile may leave a file
// that must be removed.
const atomic = false

func lock(*os.File) (free bool, err error) { return true, nil }

func syncDir(string) error { return nil }
