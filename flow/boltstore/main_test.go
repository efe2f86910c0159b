package boltstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"go.uber.org/goleak"
)

// helper is the environment variable with the name of the function that a child process runs.
const helper = "BOLTSTORE_TEST_HELPER"

func TestMain(m *testing.M) {
	if part := os.Getenv(helper); part != "" {
		helpers[part](os.Args[1:])
		return
	}
	goleak.VerifyTestMain(m)
}

func mustOpen(t testing.TB, path string, o *Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustAttach(t testing.TB, s *Store) flow.Snapshot {
	t.Helper()
	snap, err := s.Attach("a")
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func mustCommit(t testing.TB, s *Store, changes ...flow.Change) {
	t.Helper()
	if err := s.Commit(changes); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// load opens a store, reads its snapshot and closes it.
func load(path string, o *Options) (snap flow.Snapshot, err error) {
	s, err := Open(path, o)
	if err != nil {
		return snap, err
	}
	snap, err = s.Attach("a")
	return snap, errors.Join(err, s.Close())
}

func accepted(seq uint64, payload string) flow.Change {
	return flow.Change{Kind: flow.Accepted, Seq: seq,
		Message: frames.Message{Topic: "topic", QoS: frames.AtLeastOnce, Payload: []byte(payload)}}
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "session.db") }

// sample creates a file with records in each bucket and some free pages.
func sample(t testing.TB) (path string, snap flow.Snapshot) {
	t.Helper()
	path = newPath(t)
	s := mustOpen(t, path, &Options{NoSync: true})
	mustAttach(t, s)
	mustCommit(t, s, accepted(1, "gone"), accepted(2, "first"), accepted(3, "second"))
	mustCommit(t, s, flow.Change{Kind: flow.Assigned, Seq: 2, ID: 7}, flow.Change{Kind: flow.Completed, Seq: 1},
		flow.Change{Kind: flow.Received, ID: 4}, flow.Change{Kind: flow.Received, ID: 5})
	mustCommit(t, s, flow.Change{Kind: flow.Released, Seq: 2}, flow.Change{Kind: flow.Forgotten, ID: 4})
	mustClose(t, s)
	snap, err := load(path, nil)
	if err != nil || len(snap.Publications) != 2 || len(snap.Received) != 1 {
		t.Fatalf("%+v, %v", snap, err)
	}
	return path, snap
}

// rich creates a file of format 2 with a session record, and with properties and deadlines.
func rich(t testing.TB) (path string, snap flow.Snapshot) {
	t.Helper()
	path, _ = sample(t)
	s := mustOpen(t, path, &Options{NoSync: true})
	mustAttach(t, s)
	expiring := with(10, &frames.Properties{
		Expiry: time.Hour, ContentType: "text", ResponseTopic: "reply", Correlation: []byte{1, 0, 2}, Text: true,
		User: []frames.UserProperty{{Name: "b", Value: "1"}, {Name: "a"}, {Name: "b", Value: "2"}},
	})
	expiring.Deadline = someTime
	plain := accepted(12, "plain")
	plain.Deadline = someTime
	mustCommit(t, s, expiring, with(11, &frames.Properties{Correlation: []byte{}}), plain, opened(frames.V5, "a"))
	mustCommit(t, s, flow.Change{Kind: flow.Assigned, Seq: 10, ID: 9}, flow.Change{Kind: flow.Completed, Seq: 3})
	mustClose(t, s)
	snap, err := load(path, nil)
	if err != nil || len(snap.Publications) != 4 || len(snap.Received) != 1 || snap.Session == nil {
		t.Fatalf("%+v, %v", snap, err)
	}
	return path, snap
}

// large creates a file whose trees have branch pages.
func large(t testing.TB) (path string, snap flow.Snapshot) {
	t.Helper()
	path = newPath(t)
	s := mustOpen(t, path, &Options{NoSync: true})
	mustAttach(t, s)
	for i := range uint64(400) {
		mustCommit(t, s, accepted(i+1, fmt.Sprintf("payload %0100d", i)), flow.Change{Kind: flow.Received, ID: uint16(i + 1)})
		mustCommit(t, s, flow.Change{Kind: flow.Assigned, Seq: i + 1, ID: uint16(i + 1)})
		if i%4 == 3 {
			mustCommit(t, s, flow.Change{Kind: flow.Completed, Seq: i - 2})
		}
	}
	mustClose(t, s)
	snap, err := load(path, nil)
	if err != nil || len(snap.Publications) != 300 || len(snap.Received) != 400 {
		t.Fatalf("%d, %d, %v", len(snap.Publications), len(snap.Received), err)
	}
	return path, snap
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write overwrites a file without truncating it first, since some file systems sync a truncated
// file when it is closed.
func write(t testing.TB, path string, content []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(content, 0)
	if err = errors.Join(err, f.Truncate(int64(len(content))), f.Close()); err != nil {
		t.Fatal(err)
	}
}
