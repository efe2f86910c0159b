package boltstore

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/go-millrace/mqtt/flow"
)

// badDisk makes the last sync of each commit of s fail: the changes can be read back, and the
// commit has failed. Other syncs fail while the field failing is set.
type badDisk struct {
	failing bool
	syncs   int // that succeeded
}

func (d *badDisk) attach(s *Store) {
	commit, sync := s.commit, s.sync
	s.commit = func(tx *bbolt.Tx) error {
		err := commit(tx)
		if err == nil && d.failing {
			err = syscall.EIO
		}
		return err
	}
	s.sync = func() error {
		if d.failing {
			return syscall.EIO
		}
		d.syncs++
		return sync()
	}
}

// U26: the last sync of a commit fails, and the same changes are committed again.
func TestNothingIsReportedAsStoredThatWasNotSynced(t *testing.T) {
	s, disk := mustOpen(t, newPath(t), nil), &badDisk{failing: true}
	disk.attach(s)
	mustAttach(t, s)
	changes := []flow.Change{accepted(1, "x"), {Kind: flow.Received, ID: 5}}
	for range 3 {
		if err := s.Commit(changes); !errors.Is(err, syscall.EIO) {
			t.Fatalf("error %v without any sync", err)
		}
	}
	if err := s.Commit(nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("a commit without changes: error %v", err)
	}
	if err := s.Detach(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Attach("a"); !errors.Is(err, syscall.EIO) {
		t.Errorf("Attach: error %v", err)
	}
	disk.failing = false
	want := flow.Snapshot{
		Owner: "a", Publications: []flow.Publication{{Seq: 1, Message: changes[0].Message}}, Received: []uint16{5},
	}
	if snap := mustAttach(t, s); !reflect.DeepEqual(snap, want) {
		t.Errorf("holds %+v, want %+v", snap, want)
	}
	mustCommit(t, s, changes...)
	if disk.syncs != 1 {
		t.Errorf("%d syncs of the header pages, want 1", disk.syncs)
	}
	mustCommit(t, s, accepted(2, "y"))
	mustCommit(t, s, changes[1])
	if disk.syncs != 1 {
		t.Errorf("%d syncs of the header pages after a good commit, want 1", disk.syncs)
	}
}

// The process before may have been killed after a failed sync.
func TestAFileThatIsOpenedAgainIsSyncedBeforeItsUse(t *testing.T) {
	path, _ := sample(t)
	content := read(t, path)
	s, disk := mustOpen(t, path, nil), &badDisk{failing: true}
	disk.attach(s)
	if _, err := s.Attach("a"); !errors.Is(err, syscall.EIO) {
		t.Errorf("error %v", err)
	}
	disk.failing = false
	mustAttach(t, s)
	if disk.syncs != 1 {
		t.Errorf("%d syncs, want 1", disk.syncs)
	}
	if !bytes.Equal(read(t, path), content) {
		t.Error("the sync has changed the file")
	}
}

func TestAHeaderPageThatCannotBeWrittenAgainFailsTheCommit(t *testing.T) {
	path, _ := sample(t)
	s := mustOpen(t, path, nil)
	file := s.file
	defer func() { s.file = file }()
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	s.file = readOnly
	if _, err := s.Attach("a"); err == nil {
		t.Error("Attach succeeded")
	}
}
