package logstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/flow"
)

// folderSize returns the size of all files of a store.
func folderSize(t testing.TB, s *Store) (n int64) {
	t.Helper()
	entries, err := os.ReadDir(s.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

// Every tenth publication stays, so each segment keeps live records.
func TestSpaceIsBoundedWhenPublicationsEndOutOfOrder(t *testing.T) {
	const segment = 64 << 10
	s := mustOpen(t, newPath(t), &Options{NoSync: true, SegmentSize: segment})
	mustAttach(t, s)
	for seq := uint64(1); seq <= 20_000; seq++ {
		changes := []flow.Change{accepted(seq, strings.Repeat("x", 200)), {Kind: flow.Assigned, Seq: seq, ID: uint16(seq) | 1}}
		if old := seq - 20; seq > 20 && old%10 > 0 {
			changes = append(changes, flow.Change{Kind: flow.Completed, Seq: old})
		}
		if seq > 5000 && seq%10 == 0 { // the backlog stays at 500
			changes = append(changes, flow.Change{Kind: flow.Completed, Seq: seq - 5000})
		}
		mustCommit(t, s, changes...)
		if n, limit := folderSize(t, s), 3*s.index.bytes+2*segment; n > limit {
			t.Fatalf("after %d publications the folder has %d bytes for %d live ones", seq, n, s.index.bytes)
		}
	}
	if n := s.index.segments[0].number; n < 20 {
		t.Errorf("the oldest segment is %d", n)
	}
	path := s.path
	mustClose(t, s)
	if snap, err := load(path, small); err != nil || len(snap.Publications) < 500 || len(snap.Publications) > 530 {
		t.Errorf("%d publications, %v", len(snap.Publications), err)
	}
}

func TestCompletingInOrderMovesNothing(t *testing.T) {
	s := mustOpen(t, newPath(t), small)
	mustAttach(t, s)
	for seq := uint64(1); seq <= 2000; seq++ {
		mustCommit(t, s, accepted(seq, strings.Repeat("x", 1000)), flow.Change{Kind: flow.Completed, Seq: seq - 1})
		if n := len(s.index.segments); n > 2 {
			t.Fatalf("%d segments", n)
		}
	}
}

// A record that must be moved and can no longer be read is damage.
func TestADamagedRecordIsNotMoved(t *testing.T) {
	s := mustOpen(t, newPath(t), small)
	mustAttach(t, s)
	mustCommit(t, s, accepted(1, "stays"))
	name := filepath.Join(s.path, segmentName(1))
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	content[strings.Index(string(content), "stays")] ^= 1
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for seq := uint64(2); seq < 100 && err == nil; seq++ {
		changes := []flow.Change{accepted(seq, strings.Repeat("x", 1000))}
		if seq > 2 {
			changes = append(changes, flow.Change{Kind: flow.Completed, Seq: seq - 1})
		}
		err = s.Commit(changes)
	}
	var damage *DamageError
	if !errors.As(err, &damage) || damage.Total != 1 || damage.Path != s.path || damage.Places[0].File != segmentName(1) {
		t.Errorf("error %v", err)
	}
}

func TestAPublicationThatWasAcceptedTwiceIsMovedOnce(t *testing.T) {
	d := newDisk()
	s, err := openDisk(d)
	if err != nil {
		t.Fatal(err)
	}
	mustAttach(t, s)
	mustCommit(t, s, accepted(1, "old"))
	mustCommit(t, s, accepted(1, "new"))
	mustCommit(t, s, accepted(2, "second"))
	for seq := uint64(10); seq < 40; seq++ {
		mustCommit(t, s, accepted(seq, strings.Repeat("x", 1000)), flow.Change{Kind: flow.Completed, Seq: seq - 1})
	}
	snap, err := d.killed().content()
	if err != nil || len(snap.Publications) != 3 || string(snap.Publications[0].Message.Payload) != "new" {
		t.Errorf("%+v, %v", snap.Publications, err)
	}
}
