package logstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/go-millrace/mqtt/flow"
)

// mount mounts a small file system for the test, if the process is allowed to.
func mount(t *testing.T) (dir string, ok bool) {
	t.Helper()
	dir = t.TempDir()
	if syscall.Mount("none", dir, "tmpfs", 0, "size=1m") != nil {
		return dir, false
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, true
}

// fullDisk returns a folder on a small disk, and functions that fill the disk and free the space
// again. The result ok is false if the process cannot mount a small disk; then only
// TestAfterAnErrorAtAnyStepNothingIsReportedAsStoredThatIsNot covers a full disk.
func fullDisk(t *testing.T) (dir string, fill, room func(), ok bool) {
	t.Helper()
	dir, ok = mount(t)
	filler := filepath.Join(dir, "filler")
	fill = func() {
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	room = func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
	return dir, fill, room, ok
}

// D1. The disk has 1 MiB, a segment of the default size 4 MiB.
func TestAFullDiskFailsTheCommitAndNothingElse(t *testing.T) {
	for name, o := range map[string]*Options{"default segments": nil, "small segments": {SegmentSize: minSegment}} {
		t.Run(name, func(t *testing.T) {
			dir, fill, room, ok := fullDisk(t)
			s := mustOpen(t, filepath.Join(dir, "session"), o)
			mustAttach(t, s)
			mustCommit(t, s, accepted(1, "first"))
			if !ok {
				return
			}
			fill()
			last, err := uint64(1), error(nil)
			for err == nil && last < 1000 { // the first commits fit into the segment
				last++
				err = s.Commit([]flow.Change{accepted(last, strings.Repeat("x", 4000))})
			}
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), s.path) {
				t.Errorf("error %v", err)
			}
			for range 3 {
				if err := s.Commit([]flow.Change{accepted(last, strings.Repeat("x", 100_000))}); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("error %v", err)
				}
			}
			_ = s.Detach()
			if snap := mustAttach(t, s); uint64(len(snap.Publications)) != last-1 {
				t.Errorf("%d publications, want %d", len(snap.Publications), last-1)
			}
			room()
			mustCommit(t, s, accepted(last, strings.Repeat("x", 1000)))
			mustClose(t, s)
			snap, err := load(s.path, nil)
			if err != nil || uint64(len(snap.Publications)) != last || snap.Publications[0].Seq != 1 {
				t.Errorf("%d publications, %v", len(snap.Publications), err)
			}
		})
	}
}

// D1
func TestOnAFullDiskNoStoreIsMadeAndTheNextOpenMakesIt(t *testing.T) {
	dir, fill, room, ok := fullDisk(t)
	path := filepath.Join(dir, "session")
	if ok {
		fill()
		if _, err := Open(path, nil); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("error %v", err)
		}
		if _, err := os.Stat(filepath.Join(path, segmentName(1)+newSuffix)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the new file still exists: %v", err)
		}
		room()
	}
	mustClose(t, mustOpen(t, path, nil))
}

// D6
func TestAReadOnlyFileSystemIsAClearError(t *testing.T) {
	dir, ok := mount(t)
	path := filepath.Join(dir, "session")
	mustClose(t, mustOpen(t, path, nil))
	want := error(syscall.EROFS)
	if ok {
		if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=1m"); err != nil {
			t.Fatal(err)
		}
	} else {
		want = fs.ErrPermission
		restrict(t, path)
	}
	for _, p := range []string{path, filepath.Join(dir, "other")} {
		if _, err := Open(p, nil); !errors.Is(err, want) && p == path || err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("error %v", err)
		}
	}
}

// D6
func TestAFolderThatMayNotBeWrittenIsAClearError(t *testing.T) {
	path := newPath(t)
	mustClose(t, mustOpen(t, path, nil))
	restrict(t, path)
	if _, err := Open(path, nil); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

// restrict denies write access to a store until the test ends, even if root runs the test.
func restrict(t *testing.T, path string) {
	t.Helper()
	for _, name := range []string{lockName, segmentName(1)} {
		if err := os.Chmod(filepath.Join(path, name), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(path, 0o555), os.Chmod(filepath.Dir(path), 0o755), os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
	if os.Getuid() != 0 {
		return
	}
	runtime.LockOSThread() // only this thread accesses files as user nobody
	t.Cleanup(runtime.UnlockOSThread)
	if err := syscall.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setfsuid(0) })
}
