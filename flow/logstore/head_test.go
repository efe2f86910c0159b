package logstore

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/go-millrace/mqtt/flow"
)

// If the folder cannot be synced, the next segment may exist. Frames that a reader would not expect
// in the segment before it must not be written there, even if they fit.
func TestAfterAFailedRotationTheOldSegmentDoesNotGrow(t *testing.T) {
	d := newDisk()
	s, err := openDisk(d)
	if err != nil {
		t.Fatal(err)
	}
	mustAttach(t, s)
	mustCommit(t, s, accepted(1, "x"))
	d.step = func(kind string) fate {
		if kind == "sync folder" {
			return fate{err: syscall.EIO}
		}
		return fate{}
	}
	if err := s.Commit([]flow.Change{accepted(2, strings.Repeat("x", minSegment))}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("error %v", err)
	}
	if err := s.Commit([]flow.Change{accepted(3, "fits")}); !errors.Is(err, syscall.EIO) {
		t.Errorf("a small commit: error %v", err)
	}
	d.step = nil
	mustCommit(t, s, accepted(3, "fits"))
	snap, err := d.killed().content()
	if err != nil || len(snap.Publications) != 2 || snap.Publications[1].Seq != 3 {
		t.Errorf("%d publications, %v", len(snap.Publications), err)
	}
}
