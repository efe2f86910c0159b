package stream

import (
	"errors"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// A small batch without changes is written by the caller, and needs no goroutine.
func TestSmallBatchIsWrittenAtOnce(t *testing.T) {
	r := newOutboxRig(t)
	r.puback(1)
	if n, done := r.flush(0); n != 4 || !done {
		t.Fatalf("flush returned %d, %t", n, done)
	}
	if number, hadBytes := r.committed(); number != 1 || !hadBytes {
		t.Errorf("committed returned %d, %t", number, hadBytes)
	}
	r.wantEvents("try")
	r.wantPackets(1)
	if r.answers() != nil {
		t.Error("a writer runs")
	}
	if r.number() != 2 || r.handed != 1 || !r.empty() {
		t.Errorf("batch %d is filled, %d was handed over, empty %t", r.number(), r.handed, r.empty())
	}
}

// The writer writes the bytes that the connection does not accept at once, and no others.
func TestRestOfASmallBatchGoesThroughTheWriter(t *testing.T) {
	r := newOutboxRig(t)
	r.accepts = 5
	r.puback(1)
	r.puback(2)
	if n, done := r.flush(0); n != 8 || done {
		t.Fatalf("flush returned %d, %t", n, done)
	}
	r.answer(0)
	r.wantEvents("try", "write")
	r.wantPackets(1, 2)
}

// The loop fills the next batch while the writer has a large one.
func TestOnlySmallBatchesAreWrittenByTheLoop(t *testing.T) {
	for _, excess := range []int{0, 1} {
		r := newOutboxRig(t)
		const topic, header = "t", 1 + 2 + 2 // the remaining length of this size takes two bytes
		payload := make([]byte, smallBatch-header-len(topic)+excess)
		r.publish(&frames.Publish{Message: frames.Message{Topic: topic, Payload: payload}})
		if r.backlog() != smallBatch+excess {
			t.Fatalf("a batch of %d bytes", r.backlog())
		}
		if _, done := r.flush(0); done != (excess == 0) {
			t.Errorf("%d bytes are written at once: %t", smallBatch+excess, done)
		}
		if excess > 0 {
			r.answer(0)
			r.wantEvents("write")
		}
	}
}

func TestChangesAreCommittedBeforeTheBytesAreWritten(t *testing.T) {
	r := newOutboxRig(t)
	r.change(7)
	r.puback(1)
	if n, done := r.flush(0); n != 4 || done {
		t.Fatalf("flush returned %d, %t", n, done)
	}
	r.answer(0)
	r.wantEvents("commit", "write")
	r.wantStored(7)
	r.wantPackets(1)
}

func TestAtMostOneBatchIsBeingWritten(t *testing.T) {
	r := newOutboxRig(t)
	r.change(7)
	r.flush(0)
	r.puback(1)
	r.change(8)
	if n, done := r.flush(0); n != 0 || done || r.number() != 2 || r.handed != 0 {
		t.Fatalf("flush returned %d, %t, filling %d, %d was handed over", n, done, r.number(), r.handed)
	}
	if r.backlog() != 4 || !r.writing() || r.empty() {
		t.Errorf("backlog %d, writing %t, empty %t", r.backlog(), r.writing(), r.empty())
	}
	r.answer(0)
	r.flush(0)
	r.answer(0)
	r.wantEvents("commit", "commit", "write")
	r.wantStored(7, 8)
	r.wantPackets(1)
}

func TestFlushWithoutWorkDoesNothing(t *testing.T) {
	r := newOutboxRig(t)
	if n, done := r.flush(0); n != 0 || done || r.busy || r.number() != 1 || !r.empty() || r.writing() {
		t.Errorf("flush returned %d, %t; busy %t", n, done, r.busy)
	}
}

// Each of bytes, changes, a busy writer and a failed commit alone makes the outbox not empty:
// Shutdown waits for it.
func TestEmptyCountsEverythingOnItsWay(t *testing.T) {
	r := newOutboxRig(t)
	r.change(7)
	if r.empty() || r.writing() {
		t.Errorf("with a change: empty %t, writing %t", r.empty(), r.writing())
	}
	r.commit = errDisk
	r.flush(0)
	if r.empty() || r.writing() {
		t.Errorf("while it is committed: empty %t, writing %t", r.empty(), r.writing())
	}
	r.answer(0)
	if r.empty() {
		t.Error("empty after a failed commit")
	}
	r.commit = nil
	r.flush(commitRetry)
	r.answer(commitRetry)
	if !r.empty() {
		t.Error("not empty after the commit")
	}
	r.accepts = 0
	r.puback(1)
	if r.empty() || !r.writing() {
		t.Errorf("with bytes: empty %t, writing %t", r.empty(), r.writing())
	}
	r.flush(commitRetry)
	if r.empty() || !r.writing() {
		t.Errorf("while they are written: empty %t, writing %t", r.empty(), r.writing())
	}
}

// The bytes of a batch go to the connection that it was filled for, and none to a later one.
func TestBytesEndWithTheirConnection(t *testing.T) {
	r := newOutboxRig(t)
	r.change(7)
	r.puback(1)
	r.err = errDisk
	r.disconnected()
	if r.backlog() != 0 || r.err != nil {
		t.Errorf("%d bytes and error %v after the connection", r.backlog(), r.err)
	}
	r.flush(0)
	if number, hadBytes := r.current.number, len(r.current.bytes) > 0; number != 1 || hadBytes || r.handed != 0 {
		t.Errorf("batch %d, with bytes %t, %d handed over", number, hadBytes, r.handed)
	}
	r.answer(0)
	r.wantEvents("commit")
	r.connected(r, r.terms)
	r.puback(2)
	if _, done := r.flush(0); !done {
		t.Error("not written at once")
	}
	r.wantPackets(2)
	if r.handed != 2 {
		t.Errorf("batch %d was handed over last", r.handed)
	}
}

// The answer to the batch holds the error of the write. Its changes are committed all the same.
func TestFailedWriteIsInTheAnswer(t *testing.T) {
	r := newOutboxRig(t)
	r.writeErr = errors.New("broken pipe")
	r.change(7)
	r.puback(1)
	r.flush(0)
	w := r.answer(0)
	if w.commit != nil || !errors.Is(w.write, r.writeErr) || w.write.Error() != "mqtt: write: broken pipe" {
		t.Errorf("answer %v", w)
	}
	if r.failing() != nil {
		t.Errorf("failing: %v", r.failing())
	}
	r.wantStored(7)
}

// The buffers of a batch are used again, cleared, unless they have become large.
func TestBuffersAreUsedAgain(t *testing.T) {
	r := newOutboxRig(t)
	for _, size := range []int{100, 4 * batchBytes} {
		r.change(7)
		r.publish(&frames.Publish{Message: frames.Message{Topic: "t", Payload: make([]byte, size)}})
		r.flush(0)
		r.answer(0)
		for _, c := range r.spare.changes[:cap(r.spare.changes)] {
			if c.Kind != 0 {
				t.Errorf("spare memory holds the change %v", c)
			}
		}
		if kept := r.spare.bytes != nil; kept != (size == 100) {
			t.Errorf("a buffer for %d bytes is kept: %t", size, kept)
		}
		r.receiver.Release(7)
		r.journal.MoveTo(nil)
	}
}

func TestWriterRestsAfterShrinkUnlessItIsUsed(t *testing.T) {
	r := newOutboxRig(t)
	write := func(now time.Duration) { r.change(uint16(now) + 1); r.flush(now); r.answer(now) }
	write(1)
	r.rest()
	if r.answers() == nil {
		t.Fatal("the writer ended without shrink")
	}
	r.shrink(false)
	if r.spare.changes == nil {
		t.Error("shrink of a session in use took the spare buffers")
	}
	write(2)
	r.rest()
	if r.answers() == nil {
		t.Fatal("the writer ended although it was used after shrink")
	}
	r.shrink(true)
	if r.spare.changes != nil || r.spare.bytes != nil {
		t.Error("shrink of an unused session left the spare buffers")
	}
	r.rest()
	if r.answers() != nil {
		t.Fatal("the writer did not end")
	}
	r.writer.running.Wait()
	write(3)
	r.wantStored(2, 3, 4)
}

func TestWriterDoesNotRestWhileItIsBusy(t *testing.T) {
	r := newOutboxRig(t)
	r.change(1)
	r.flush(0)
	r.shrink(false)
	r.rest()
	if r.answers() == nil {
		t.Fatal("the writer ended before its answer")
	}
	r.answer(0)
	r.rest()
	if r.answers() != nil {
		t.Error("the writer did not end after its answer")
	}
}

// Without a Store there is no journal, and everything else works.
func TestOutboxWithoutAStore(t *testing.T) {
	r := newOutboxRig(t)
	o := newOutbox(quietLog(), nil, nil)
	o.connected(r, &terms{version: frames.V311, limits: limits{maxPacket: 4}})
	o.ack(frames.Ack{Kind: frames.TypePuback, ID: 1})
	if _, done := o.flush(0); !done {
		t.Error("not written at once")
	}
	o.committed()
	reply := make(chan error, 1)
	o.sync(reply)
	if err := <-reply; err != nil || !o.empty() {
		t.Errorf("sync: %v, empty %t", err, o.empty())
	}
	o.acks(flow.NewReceiver(nil))
	o.end()
}
