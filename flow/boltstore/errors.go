//go:build !wasm

package boltstore

import (
	"errors"
	"fmt"
	"strings"
)

// ErrForeign means that a file is not a session store.
var ErrForeign = errors.New("the file is not a session store")

var (
	errNotAttached = errors.New("no session is attached")
	errRaced       = errors.New("another process changes the file")
)

// FormatError means that a later version of this package wrote the file.
type FormatError struct {
	Path   string
	Format uint32 // of the file
	Known  uint32 // the latest format that this version reads
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("boltstore: %s: the file has format version %d, this program reads up to %d", e.Path, e.Format, e.Known)
}

// DamageError means that the content of a file is damaged.
type DamageError struct {
	Path   string
	Places []Damage // the first 16
	Total  int      // the number of all places
}

// Damage is one place in a damaged file.
type Damage struct {
	Bucket string // empty: the place is in no bucket
	Key    []byte // the key of the record; nil: the place is in no record
	Offset int64  // from the start of the file, in bytes
	Reason string
}

// maxPlaces is the number of places that a [DamageError] lists.
const maxPlaces = 16

func (e *DamageError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "boltstore: %s is damaged", e.Path)
	for i, d := range e.Places {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep)
		b.WriteString(d.String())
	}
	if n := e.Total - len(e.Places); n > 0 {
		fmt.Fprintf(&b, "; and %d more", n)
	}
	return b.String()
}

func (d Damage) String() string {
	at := fmt.Sprintf("%s (offset %d)", d.Reason, d.Offset)
	switch {
	case d.Key != nil:
		return fmt.Sprintf("%s %x: %s", d.Bucket, d.Key, at)
	case d.Bucket != "":
		return d.Bucket + ": " + at
	}
	return at
}
