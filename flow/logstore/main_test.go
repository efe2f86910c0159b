package logstore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// childPart is the environment variable with the name of the function that a child process runs.
const childPart = "LOGSTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if part := os.Getenv(childPart); part != "" {
		children[part](os.Args[1:])
		return
	}
	goleak.VerifyTestMain(m)
}

var children = map[string]func(args []string){}

// small makes segments small, so that tests use many of them.
var small = &Options{NoSync: true, SegmentSize: minSegment}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "session") }

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

var someTime = time.Unix(1_800_000_000, 0).UTC()

func opened(clientID string) flow.Change {
	return flow.Change{Kind: flow.Opened,
		Session: &flow.SessionRecord{Version: frames.V5, ClientID: clientID, Expiry: 3600, Seen: someTime}}
}
