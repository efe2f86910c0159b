package logstore

import (
	"errors"
	"fmt"
	"strings"
)

// ErrForeign means that a folder holds other files and no session store.
var ErrForeign = errors.New("the folder is not a session store")

var (
	errNotAttached = errors.New("no session is attached")
	errLength      = errors.New("its length is wrong")
	errChecksum    = errors.New("its checksum is wrong")
	errFlags       = errors.New("its flags are unknown")
	errKind        = errors.New("its kind is unknown")
	errSealed      = errors.New("the next segment is missing")
	errProperties  = errors.New("its properties are malformed")
)

// FormatError means that a later version of this package wrote the store.
type FormatError struct {
	Path   string
	Format uint32 // of the store
	Known  uint32 // the latest format that this version reads
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("logstore: %s: the store has format version %d, this program reads up to %d", e.Path, e.Format, e.Known)
}

// DamageError means that the content of a store is damaged.
type DamageError struct {
	Path   string
	Places []Damage // the first 16
	Total  int      // the number of all places
}

// Damage is one place in a damaged store.
type Damage struct {
	File   string // the name of the segment in the folder of the store
	Offset int64  // from the start of the file, in bytes
	Reason string
}

// maxPlaces is the number of places that a [DamageError] lists.
const maxPlaces = 16

func (e *DamageError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "logstore: %s is damaged: ", e.Path)
	for i, d := range e.Places {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(d.String())
	}
	if n := e.Total - len(e.Places); n > 0 {
		fmt.Fprintf(&b, "; and %d more", n)
	}
	return b.String()
}

func (d Damage) String() string { return fmt.Sprintf("%s: %s (offset %d)", d.File, d.Reason, d.Offset) }

// add adds one place.
func (e *DamageError) add(number uint64, offset int64, format string, a ...any) {
	if e.Total++; e.Total <= maxPlaces {
		e.Places = append(e.Places, Damage{segmentName(number), offset, fmt.Sprintf(format, a...)})
	}
}

// err returns e, or nil if nothing is damaged.
func (e *DamageError) err() error {
	if e.Total == 0 {
		return nil
	}
	return e
}
