package logstore

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/flow/storetest"
	"github.com/go-millrace/mqtt/frames"
)

func TestAFolderIsAStore(t *testing.T) {
	for name, o := range map[string]*Options{"large segments": {NoSync: true}, "small segments": small} {
		t.Run(name, func(t *testing.T) {
			var path string
			var s *Store
			storetest.Run(t, func(t *testing.T) flow.Store {
				path = newPath(t)
				s = mustOpen(t, path, o)
				return s
			}, func(t *testing.T) flow.Store {
				mustClose(t, s)
				s = mustOpen(t, path, o)
				return s
			})
		})
	}
}

// The test above opens the folder again for each session, as a new process does. This test keeps it
// open, as one client after another does.
func TestAFolderThatStaysOpenIsAStore(t *testing.T) {
	var s *Store
	storetest.Run(t, func(t *testing.T) flow.Store {
		s = mustOpen(t, newPath(t), small)
		return s
	}, func(*testing.T) flow.Store { return s })
}

func TestChangesThatCancelOutWriteNothing(t *testing.T) {
	s := mustOpen(t, newPath(t), nil)
	mustAttach(t, s)
	end := s.head.end
	mustCommit(t, s, accepted(1, "x"), flow.Change{Kind: flow.Assigned, Seq: 1, ID: 1}, flow.Change{Kind: flow.Completed, Seq: 1},
		flow.Change{Kind: flow.Received, ID: 1}, flow.Change{Kind: flow.Forgotten, ID: 1}, flow.Change{Kind: flow.Cleared})
	if s.head.end != end {
		t.Error("the log has grown")
	}
	mustCommit(t, s, accepted(1, "x"))
	end = s.head.end
	mustCommit(t, s, flow.Change{Kind: flow.Assigned, Seq: 1, ID: 1}, flow.Change{Kind: flow.Assigned, Seq: 1})
	if s.head.end != end {
		t.Error("the log has grown")
	}
}

func TestAnOpenStoreIsInUseAtOnceAndFreeAfterClose(t *testing.T) {
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

func TestValuesThatNoPacketHoldsFailTheCommitAndNothingOfItStays(t *testing.T) {
	long, early, late := accepted(2, "x"), accepted(2, "x"), accepted(2, "x")
	long.Message.Topic = strings.Repeat("t", math.MaxUint16+1)
	early.Message.Properties = &frames.Properties{Expiry: -time.Second}
	late.Message.Properties = &frames.Properties{Expiry: 1 << 32 * time.Second}
	wrong := accepted(2, "x")
	wrong.Message.Properties = &frames.Properties{ResponseTopic: "a/#"}
	for text, change := range map[string]flow.Change{"65536": long, "interval -1s": early, "interval 1193046h28m16s": late,
		"response topic": wrong, "client identifier": opened(strings.Repeat("c", math.MaxUint16+1))} {
		s := mustOpen(t, newPath(t), small)
		mustAttach(t, s)
		if err := s.Commit([]flow.Change{accepted(1, "x"), change}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: error %v", text, err)
		}
		_ = s.Detach()
		if snap := mustAttach(t, s); !snap.Empty() {
			t.Errorf("holds %+v", snap)
		}
		mustCommit(t, s, flow.Change{Kind: flow.Completed, Seq: 2}, accepted(1, "x"))
	}
}

func TestTheFilesAreForTheirOwnerAlone(t *testing.T) {
	for want, o := range map[fs.FileMode]*Options{0o600: nil, 0o640: {FileMode: 0o640}} {
		s := mustOpen(t, newPath(t), o)
		for _, name := range []string{lockName, segmentName(1)} {
			if info, err := os.Stat(filepath.Join(s.path, name)); err != nil || info.Mode() != want {
				t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, want)
			}
		}
		if info, err := os.Stat(s.path); err != nil || info.Mode().Perm() != want|want>>2&0o111 {
			t.Errorf("folder: mode %v, %v", info.Mode(), err)
		}
	}
}

// A process that is killed while it creates a store leaves a folder without a segment.
func TestAStoreThatWasNotFinishedIsMadeAnew(t *testing.T) {
	for _, names := range [][]string{{}, {lockName}, {lockName, segmentName(1) + newSuffix}, {"lost+found"}} {
		path := newPath(t)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(path, name), []byte("x")[:len(name)/20], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if snap, err := load(path, nil); err != nil || !snap.Empty() {
			t.Errorf("%q: %+v, %v", names, snap, err)
		}
		if _, err := os.Stat(filepath.Join(path, segmentName(1)+newSuffix)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: the new file still exists: %v", names, err)
		}
	}
}

func TestConcurrentOpensGetTheStoreOneByOne(t *testing.T) {
	for range 20 {
		path, got := newPath(t), make(chan error)
		for i := range 8 {
			go func() {
				s, err := Open(path, small)
				if err == nil {
					if _, err = s.Attach("a"); err == nil {
						err = errors.Join(s.Commit([]flow.Change{{Kind: flow.Received, ID: uint16(i + 1)}}), s.Close())
					}
				} else if errors.Is(err, flow.ErrInUse) {
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

func TestAllKindsOfMessagesComeBack(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path, small)
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

// D4
func TestAFolderOrFileOfSomebodyElseIsRefusedAndUnchanged(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "letter")
	if err := os.WriteFile(file, []byte("to whom it may concern"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Open(file, nil); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "directory") {
		t.Errorf("a file: %v", err)
	}
	missing := filepath.Join(dir, "none", "session")
	if _, err := Open(missing, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing folder: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// An empty store holds the record of a session whose client is gone.
func TestTheRecordOfAnotherClientsSessionStaysIfItCannotBeRemoved(t *testing.T) {
	d := newDisk()
	s, err := openDisk(d)
	if err != nil {
		t.Fatal(err)
	}
	mustAttach(t, s)
	mustCommit(t, s, opened(""))
	_ = s.Detach()
	d.step = func(string) fate { return fate{err: syscall.EIO} }
	if _, err := s.Attach("b"); !errors.Is(err, syscall.EIO) {
		t.Errorf("error %v", err)
	}
	d.step = nil
	snap := mustAttach(t, s) // no session is attached after the error
	if snap.Owner != "a" || snap.Session == nil {
		t.Errorf("%+v", snap)
	}
	_ = s.Detach()
	if snap, err := s.Attach("b"); err != nil || snap.Owner != "b" || snap.Session != nil {
		t.Errorf("%+v, %v", snap, err)
	}
	if s, err = openDisk(d.image(rand.New(rand.NewPCG(1, 1)), 0)); err != nil {
		t.Fatal(err)
	}
	if snap, err := s.Attach(""); err != nil || snap.Owner != "b" || snap.Session != nil {
		t.Errorf("%+v, %v", snap, err)
	}
}
