package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/flow/storetest"
	"github.com/go-millrace/mqtt/frames"
)

func TestAFileIsAStore(t *testing.T) {
	var path string
	var s *Store
	storetest.Run(t, func(t *testing.T) flow.Store {
		path = newPath(t)
		s = mustOpen(t, path, &Options{NoSync: true})
		return s
	}, func(t *testing.T) flow.Store {
		mustClose(t, s)
		s = mustOpen(t, path, &Options{NoSync: true})
		return s
	})
}

// The test above opens the file again for each session, as a new process does. This test keeps the
// file open, as one client after another does.
func TestAFileThatStaysOpenIsAStore(t *testing.T) {
	var s *Store
	storetest.Run(t, func(t *testing.T) flow.Store {
		s = mustOpen(t, newPath(t), &Options{NoSync: true})
		return s
	}, func(*testing.T) flow.Store { return s })
}

func TestChangesThatCancelOutWriteNothing(t *testing.T) {
	s := mustOpen(t, newPath(t), nil)
	mustAttach(t, s)
	before := read(t, s.path)
	mustCommit(t, s, accepted(1, "x"), flow.Change{Kind: flow.Assigned, Seq: 1, ID: 1}, flow.Change{Kind: flow.Completed, Seq: 1},
		flow.Change{Kind: flow.Received, ID: 1}, flow.Change{Kind: flow.Forgotten, ID: 1}, flow.Change{Kind: flow.Cleared})
	if string(read(t, s.path)) != string(before) {
		t.Error("the file has changed")
	}
	mustCommit(t, s, accepted(1, "x"))
	if string(read(t, s.path)) == string(before) {
		t.Error("the file has not changed")
	}
}

func TestAnOpenFileIsInUseAtOnceAndFreeAfterClose(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path, nil)
	if _, err := Open(path, nil); !errors.Is(err, flow.ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	mustAttach(t, s)
	if err := s.Detach(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, nil); !errors.Is(err, flow.ErrInUse) {
		t.Errorf("after Detach: error %v", err)
	}
	mustClose(t, s)
	mustClose(t, s)
	mustClose(t, mustOpen(t, path, nil))
}

func TestAfterCloseEverythingIsAnErrorOfClosed(t *testing.T) {
	s := mustOpen(t, newPath(t), nil)
	mustAttach(t, s)
	mustClose(t, s)
	if err := s.Commit([]flow.Change{accepted(1, "x")}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Commit: %v", err)
	}
	if err := s.Detach(); err != nil {
		t.Errorf("Detach: %v", err)
	}
	if _, err := s.Attach("a"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Attach: %v", err)
	}
}

func TestACommitOfNobodyIsRefused(t *testing.T) {
	s := mustOpen(t, newPath(t), nil)
	if err := s.Commit([]flow.Change{accepted(1, "x")}); !errors.Is(err, errNotAttached) {
		t.Errorf("error %v", err)
	}
}

func TestATopicThatNoPacketHoldsIsRefusedAndNothingElseOfItsBatchStays(t *testing.T) {
	s := mustOpen(t, newPath(t), nil)
	mustAttach(t, s)
	long := accepted(2, "x")
	long.Message.Topic = strings.Repeat("t", math.MaxUint16+1)
	if err := s.Commit([]flow.Change{accepted(1, "x"), long}); err == nil || !strings.Contains(err.Error(), "65536") {
		t.Errorf("error %v", err)
	}
	_ = s.Detach()
	if snap := mustAttach(t, s); !snap.Empty() {
		t.Errorf("holds %+v", snap)
	}
	long.Message.Topic = long.Message.Topic[1:]
	mustCommit(t, s, long)
}

func TestTheFileIsForItsOwnerAlone(t *testing.T) {
	for want, o := range map[fs.FileMode]*Options{0o600: nil, 0o640: {FileMode: 0o640}} {
		s := mustOpen(t, newPath(t), o)
		if info, err := os.Stat(s.path); err != nil || info.Mode() != want {
			t.Errorf("mode %v, %v; want %v", info.Mode(), err, want)
		}
	}
}

// After a power failure a session file can be empty.
func TestAnEmptyFileIsANewStore(t *testing.T) {
	path := newPath(t)
	write(t, path, nil)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, link, nil)
	mustAttach(t, s)
	mustCommit(t, s, accepted(1, "x"))
	mustClose(t, s)
	for _, p := range []string{path, link} {
		if snap, err := load(p, nil); err != nil || len(snap.Publications) != 1 {
			t.Errorf("%s: %+v, %v", p, snap, err)
		}
	}
}

// A process that is killed while it creates a store leaves a complete or incomplete ".new" file.
func TestAStoreThatWasNotFinishedIsMadeAnew(t *testing.T) {
	path, _ := sample(t)
	whole := read(t, path)
	for _, n := range []int{0, 1, 4095, 4096, 8192, 16384, len(whole)} {
		path := newPath(t)
		write(t, path+newSuffix, whole[:n])
		if snap, err := load(path, nil); err != nil || !snap.Empty() {
			t.Errorf("%d bytes left: %+v, %v", n, snap, err)
		}
		if _, err := os.Stat(path + newSuffix); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d bytes left: the new file still exists: %v", n, err)
		}
	}
}

func TestAStoreThatAnotherProcessMakesIsInUse(t *testing.T) {
	path := newPath(t)
	f, err := os.Create(path + newSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if free, err := lock(f); !free || err != nil {
		t.Fatal(free, err)
	}
	if _, err := Open(path, nil); !errors.Is(err, flow.ErrInUse) {
		t.Errorf("error %v", err)
	}
}

func TestConcurrentOpensGetTheStoreOneByOne(t *testing.T) {
	for range 20 {
		path, got := newPath(t), make(chan error)
		for i := range 8 {
			go func() {
				s, err := Open(path, nil)
				if err == nil {
					if _, err = s.Attach("a"); err == nil {
						err = errors.Join(s.Commit([]flow.Change{{Kind: flow.Received, ID: uint16(i + 1)}}), s.Close())
					}
				} else if errors.Is(err, flow.ErrInUse) || errors.Is(err, errRaced) {
					err = flow.ErrInUse
				}
				got <- err
			}()
		}
		n := 0
		for range 8 {
			switch err := <-got; err {
			case nil:
				n++
			case flow.ErrInUse:
			default:
				t.Error(err)
			}
		}
		if snap, err := load(path, nil); err != nil || len(snap.Received) != n {
			t.Fatalf("%d opened it, it holds %+v, %v", n, snap, err)
		}
	}
}

func TestCompletingInOrderUsesTheSameSpaceAgain(t *testing.T) {
	s := mustOpen(t, newPath(t), &Options{NoSync: true})
	mustAttach(t, s)
	for i := range uint64(2000) {
		mustCommit(t, s, accepted(i+100, strings.Repeat("x", 1000)), flow.Change{Kind: flow.Completed, Seq: i})
	}
	if info, err := os.Stat(s.path); err != nil || info.Size() > 1<<20 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
}

func TestAllKindsOfMessagesComeBack(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path, nil)
	mustAttach(t, s)
	want := []frames.Message{
		{Topic: "t", QoS: 1}, {Topic: "ü/+", QoS: 2, Retain: true, Payload: []byte{0}},
		{Topic: strings.Repeat("t", math.MaxUint16), QoS: 1, Payload: make([]byte, 1<<20)},
	}
	for i, m := range want {
		mustCommit(t, s, flow.Change{Kind: flow.Accepted, Seq: uint64(i), Message: m})
	}
	mustClose(t, s)
	snap, err := load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range snap.Publications {
		if fmt.Sprint(p.Message) != fmt.Sprint(want[i]) {
			t.Errorf("%d differs", i)
		}
	}
}

// On the first start the path is a symbolic link to another disk. The data must be written to that
// disk.
func TestALinkToAFileThatIsStillToBeMadeStays(t *testing.T) {
	for _, relative := range []bool{false, true} {
		dir := t.TempDir()
		target, link := filepath.Join(dir, "disk", "session.db"), filepath.Join(dir, "session.db")
		if err := os.Mkdir(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		to := target
		if relative {
			to = filepath.Join("disk", "session.db")
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		mustClose(t, mustOpen(t, link, nil))
		if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link has become a file: %v", err)
		}
		if _, err := os.Stat(target); err != nil {
			t.Error(err)
		}
	}
}

func TestAnEmptyPathIsAnErrorAndMakesNoFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if s, err := Open("", nil); err == nil {
		mustClose(t, s)
		t.Error("Open succeeded")
	} else if !strings.Contains(err.Error(), "path") {
		t.Error(err)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
