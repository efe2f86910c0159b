package stream

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// failOnce makes the commit of a batch with change 7 and a PUBACK fail at now, which ends the
// connection.
func failOnce(t *testing.T, now time.Duration) *outboxRig {
	r := newOutboxRig(t)
	r.commit = errDisk
	r.change(7)
	r.puback(1)
	r.flush(now)
	w := r.answer(now)
	if !errors.Is(w.commit, errDisk) || w.write != nil || w.commit.Error() != "mqtt: store: disk full" {
		t.Fatalf("answer %v", w)
	}
	r.wantEvents("refuse")
	r.commit = nil
	r.disconnected()
	return r
}

// After a failed commit nothing of the batch was handed to the connection.
func TestFailedCommitTakesTheBytesBack(t *testing.T) {
	r := failOnce(t, 5)
	r.wantPackets()
	r.wantStored()
	if r.handed != 0 || r.failing() == nil || r.retryAt() != 5+time.Second || r.busy || r.writing() {
		t.Errorf("handed %d, failing %v, again at %v", r.handed, r.failing(), r.retryAt())
	}
}

// The changes of a failed commit come again after a second, alone, before any other batch and under
// the number of theirs.
func TestFailedCommitIsRepeatedAloneAndFirst(t *testing.T) {
	r := failOnce(t, 5)
	r.connected(r, r.terms)
	r.change(8)
	r.puback(2)
	at := r.retryAt()
	if n, done := r.flush(at - 1); n != 0 || done || r.busy {
		t.Fatal("flushed before its time")
	}
	if n, done := r.flush(at); n != 0 || done || !r.busy {
		t.Fatalf("flush returned %d, %t; busy %t", n, done, r.busy)
	}
	if ids := changeIDs(r.current.changes); r.current.number != 1 || !slices.Equal(ids, []uint16{7}) || len(r.current.bytes) > 0 {
		t.Errorf("batch %d with changes %d and %d bytes", r.current.number, ids, len(r.current.bytes))
	}
	w := <-r.answers()
	if number, hadBytes := r.committed(); w.commit != nil || number != 1 || hadBytes {
		t.Errorf("answer %v, committed returned %d, %t", w, number, hadBytes)
	}
	if r.failing() != nil {
		t.Errorf("failing after the commit: %v", r.failing())
	}
	r.flush(at)
	r.answer(at)
	r.wantEvents("commit", "commit", "write")
	r.wantStored(7, 8)
	r.wantPackets(2)
}

// A commit that fails again waits another second.
func TestFailedCommitIsRepeatedUntilItSucceeds(t *testing.T) {
	r := failOnce(t, 0)
	r.commit = errDisk
	for range 3 {
		at := r.retryAt()
		r.flush(at)
		r.answer(at)
		r.wantEvents("refuse")
		if r.retryAt() != at+time.Second || r.failed.number != 1 || r.empty() {
			t.Errorf("batch %d again at %v", r.failed.number, r.retryAt())
		}
	}
	r.commit = nil
	r.flush(r.retryAt())
	r.answer(0)
	r.wantStored(7)
	if !r.empty() {
		t.Error("not empty")
	}
}

// The end of the session repeats a failed commit at once.
func TestRetryNowDoesNotWait(t *testing.T) {
	r := failOnce(t, time.Hour)
	r.retryNow()
	r.flush(time.Hour)
	r.answer(time.Hour)
	r.wantStored(7)
}

// The owner of the changes may replace them: publications accepted in a failed batch have ended.
func TestFailedCommitRepeatsTheChangesThatAreOwed(t *testing.T) {
	r := newOutboxRig(t)
	r.commit = errDisk
	r.change(7)
	r.flush(0)
	w := <-r.answers()
	r.uncommitted(w.commit, 0, func(c []flow.Change) []flow.Change {
		if ids := changeIDs(c); !slices.Equal(ids, []uint16{7}) {
			t.Errorf("asked for the changes %d", ids)
		}
		return []flow.Change{{Kind: flow.Completed, ID: 9}}
	})
	r.commit = nil
	r.flush(commitRetry)
	r.answer(commitRetry)
	r.wantStored(9)
}

// A commit that fails leaves the bytes of earlier batches handed over.
func TestFailedCommitLeavesEarlierBatchesHandedOver(t *testing.T) {
	r := newOutboxRig(t)
	r.puback(1)
	r.flush(0)
	r.committed()
	r.commit = errDisk
	r.change(7)
	r.flush(0)
	r.answer(0)
	if r.handed != 1 {
		t.Errorf("batch %d was handed over last, want 1", r.handed)
	}
	r.retryNow()
	r.flush(0)
	r.answer(0) // fails again
	if r.handed != 1 {
		t.Errorf("batch %d was handed over last, want 1", r.handed)
	}
}
