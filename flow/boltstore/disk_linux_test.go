package boltstore

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

// fullDisk returns a store, and functions that fill its disk and free the space again. The result
// ok is false if the process cannot mount a small disk.
func fullDisk(t *testing.T) (s *Store, fill, room func(), ok bool) {
	t.Helper()
	dir, ok := mount(t)
	s = mustOpen(t, filepath.Join(dir, "session.db"), nil)
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
	return s, fill, room, ok
}

// standIn returns functions that replace the file of a store with /dev/full and restore it.
func standIn(t *testing.T, s *Store) (fill, room func()) {
	t.Helper()
	saved, err := syscall.Dup(int(s.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(saved) })
	put := func(fd int) {
		if err := syscall.Dup3(fd, int(s.file.Fd()), syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		put(int(full.Fd()))
	}, func() { put(saved) }
}

// D1
func TestAFullDiskFailsTheCommitAndNothingElse(t *testing.T) {
	if s, fill, room, ok := fullDisk(t); ok {
		failsAndGoesOn(t, s, fill, room, syscall.ENOSPC)
	} // otherwise the process cannot mount a disk, and only the next test checks this
}

// D1
func TestAFileThatCannotBeWrittenFailsTheCommitAndNothingElse(t *testing.T) {
	s := mustOpen(t, newPath(t), nil)
	fill, room := standIn(t, s)
	failsAndGoesOn(t, s, fill, room, nil)
}

func failsAndGoesOn(t *testing.T, s *Store, fill, room func(), want error) {
	mustAttach(t, s)
	mustCommit(t, s, accepted(1, "first"))
	fill()
	last, err := uint64(1), error(nil)
	for err == nil && last < 1000 { // the first commits may use free pages of the file
		last++
		err = s.Commit([]flow.Change{accepted(last, strings.Repeat("x", 4000))})
	}
	if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), s.path) {
		t.Errorf("error %v", err)
	}
	for range 3 {
		if err := s.Commit([]flow.Change{accepted(last, strings.Repeat("x", 100_000))}); err == nil {
			t.Error("Commit succeeded on a full disk")
		}
	}
	room()
	_ = s.Detach()
	if snap := mustAttach(t, s); uint64(len(snap.Publications)) != last-1 {
		t.Errorf("%d publications, want %d", len(snap.Publications), last-1)
	}
	mustCommit(t, s, accepted(last, strings.Repeat("x", 1000)))
	mustClose(t, s)
	snap, err := load(s.path, nil)
	if err != nil || uint64(len(snap.Publications)) != last || snap.Publications[0].Seq != 1 {
		t.Errorf("%d publications, %v", len(snap.Publications), err)
	}
}

// D1
func TestOnAFullDiskNoStoreIsMadeAndNothingIsLeft(t *testing.T) {
	s, fill, room, ok := fullDisk(t)
	path := filepath.Join(filepath.Dir(s.path), "other.db")
	if ok {
		fill()
		if _, err := Open(path, nil); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("error %v", err)
		}
		if _, err := os.Stat(path + newSuffix); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the new file still exists: %v", err)
		}
		room()
	}
	mustClose(t, mustOpen(t, path, nil))
}

// D6
func TestAReadOnlyFileSystemIsAClearError(t *testing.T) {
	dir, ok := mount(t)
	path := filepath.Join(dir, "session.db")
	mustClose(t, mustOpen(t, path, nil))
	want := error(syscall.EROFS)
	if ok {
		if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=1m"); err != nil {
			t.Fatal(err)
		}
	} else {
		want = fs.ErrPermission
		restrict(t, path, dir)
	}
	for _, p := range []string{path, filepath.Join(dir, "other.db")} {
		if _, err := Open(p, nil); !errors.Is(err, want) || !strings.Contains(err.Error(), p) {
			t.Errorf("error %v", err)
		}
	}
}

// D6
func TestAFileThatMayNotBeWrittenIsAClearError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "session.db")
	mustClose(t, mustOpen(t, path, nil))
	restrict(t, path, dir)
	for _, p := range []string{path, filepath.Join(dir, "other.db")} {
		if _, err := Open(p, nil); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), p) {
			t.Errorf("error %v", err)
		}
	}
}

// restrict denies write access until the test ends, even if root runs the test.
func restrict(t *testing.T, file, dir string) {
	t.Helper()
	if err := errors.Join(os.Chmod(file, 0o400), os.Chmod(dir, 0o500)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	if os.Getuid() != 0 {
		return
	}
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o555), os.Chmod(file, 0o444)); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // only this thread accesses files as user nobody
	t.Cleanup(runtime.UnlockOSThread)
	if err := syscall.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setfsuid(0) })
}
