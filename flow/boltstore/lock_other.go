//go:build (!unix || solaris || aix || android) && !wasm

package boltstore

import "os"

// atomic is false where bbolt locks in another way. On such systems Open reads a file before bbolt
// locks it, and may report a file in use as damaged. Open also creates a file under its final name,
// so a process that is killed during Open may leave a file that must be removed.
const atomic = false

func lock(*os.File) (free bool, err error) { return true, nil }

func syncDir(string) error { return nil }
