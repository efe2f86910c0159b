package stream

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// slow returns a rig whose Store is in a commit, which ends when the test sends to holds. The batch
// has PUBACK 1, PUBREC 2, whose change it commits, and PUBACK 3.
func slow(t *testing.T) *outboxRig {
	r := newOutboxRig(t)
	r.holds = make(chan struct{})
	r.puback(1)
	r.change(2)
	r.pubrec(2)
	r.puback(3)
	r.flush(0)
	return r
}

func (r *outboxRig) pubrec(id uint16) { r.ack(frames.Ack{Kind: frames.TypePubrec, ID: id}) }

// early checks that a flush begins an early write that takes n bytes from the batch being filled,
// and receives its result.
func (r *outboxRig) early(now time.Duration, n int) written {
	r.t.Helper()
	if bytes, done := r.flush(now); bytes != n || done || !r.outbox.early.busy {
		r.t.Fatalf("flush returned %d, %t; an early write is under way: %t", bytes, done, r.outbox.early.busy)
	}
	w := r.answer(now)
	if !w.early || r.outbox.early.busy || !r.busy {
		r.t.Fatalf("answer %+v, early %t, busy %t", w, r.outbox.early.busy, r.busy)
	}
	return w
}

func TestShortCommitIsNotOvertaken(t *testing.T) {
	r := slow(t)
	r.puback(4)
	if at := r.overtakesAt(); at != commitPatience {
		t.Errorf("packets overtake at %v", at)
	}
	if n, _ := r.flush(commitPatience - 1); n != 0 || r.outbox.early.busy {
		t.Error("packets overtook a short commit")
	}
	r.holds <- struct{}{}
	r.answer(0)
	r.flush(0)
	r.committed()
	r.wantEvents("commit", "write", "try")
	r.wantPackets(1, 2, 3, 4)
	if r.overtakesAt() != 0 {
		t.Error("packets overtake no commit")
	}
}

// PUBACK overtakes, from the batch under commit and from the next one, in order. PUBREC waits for
// its change.
func TestPubackOvertakesASlowCommitInOrder(t *testing.T) {
	r := slow(t)
	r.puback(4)
	r.change(5)
	r.pubrec(5)
	r.puback(6)
	r.early(commitPatience, 8)
	r.wantEvents("write")
	r.wantPackets(1, 3, 4, 6)
	if r.backlog() != 4 || r.ackBytes() != 4 {
		t.Errorf("%d bytes wait, %d in acks", r.backlog(), r.ackBytes())
	}
	if n, _ := r.flush(commitPatience); n != 0 || r.outbox.early.busy {
		t.Error("an early write without bytes")
	}
	r.puback(7)
	r.early(commitPatience, 4)
	r.holds <- struct{}{}
	r.answer(0)
	r.wantPackets(1, 3, 4, 6, 7, 2)
	r.flush(0)
	r.holds <- struct{}{}
	r.answer(0)
	r.wantPackets(1, 3, 4, 6, 7, 2, 5)
	r.wantEvents("write", "commit", "write", "commit", "write")
}

// A packet that waited for the change of one batch does not wait for the change of the next one.
func TestPacketsOfTheNextBatchAreExaminedAgain(t *testing.T) {
	r := slow(t)
	r.pubrec(4) // a duplicate, whose change is in the Store
	r.receiver.Release(2)
	r.ack(frames.Ack{Kind: frames.TypePubcomp, ID: 2})
	r.early(commitPatience, 0)
	r.holds <- struct{}{}
	r.answer(commitPatience)
	r.flush(commitPatience)
	r.early(2*commitPatience, 0)
	r.wantPackets(1, 3, 2, 4)
	r.holds <- struct{}{}
	r.answer(0)
	r.wantPackets(1, 3, 2, 4, 2)
}

func TestAtMostOneEarlyWriteIsUnderWay(t *testing.T) {
	r := slow(t)
	r.lines = make(chan struct{}, 3)
	r.flush(commitPatience)
	r.puback(4)
	if n, _ := r.flush(2 * commitPatience); n != 0 || r.backlog() != 4 {
		t.Errorf("a second early write of %d bytes", n)
	}
	if r.heldUp(2*commitPatience) || !r.sending(2*commitPatience) {
		t.Error("the connection holds up the packets, not the Store")
	}
	r.lines <- struct{}{}
	r.answer(0)
	if !r.heldUp(2*commitPatience) || r.sending(2*commitPatience) {
		t.Error("only the Store holds up the packets")
	}
	r.lines <- struct{}{}
	r.early(2*commitPatience, 4)
	r.holds <- struct{}{}
	r.lines <- struct{}{}
	r.answer(0)
	r.wantPackets(1, 3, 4, 2)
}

// The writer does not write into the middle of an early write.
func TestTheBatchWaitsForTheEarlyWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := slow(t)
		r.lines = make(chan struct{}, 2)
		r.flush(commitPatience)
		r.holds <- struct{}{}
		synctest.Wait()
		if r.outbox.committing(commitPatience) != 0 || len(r.answers()) > 0 {
			t.Error("the commit has not ended alone")
		}
		r.lines <- struct{}{}
		if w := r.answer(0); !w.early {
			t.Error("the batch was answered before the early write")
		}
		r.wantPackets(1, 3)
		r.lines <- struct{}{}
		r.answer(0)
		r.wantPackets(1, 3, 2)
	})
}

// After a failed write nothing more is written, since the broker may have a part of a packet.
func TestNothingIsWrittenAfterAFailedEarlyWrite(t *testing.T) {
	r := slow(t)
	r.writeErr = errors.New("broken pipe")
	if w := r.early(commitPatience, 0); !errors.Is(w.write, r.writeErr) {
		t.Errorf("answer %v", w)
	}
	r.holds <- struct{}{}
	if w := r.answer(0); w.commit != nil || !errors.Is(w.write, r.writeErr) {
		t.Errorf("answer %v", w)
	}
	r.wantEvents("write", "commit")
	r.wantStored(2)
}

// The bytes that depend on the changes of a failed commit are not written.
func TestFailedCommitAfterAnEarlyWrite(t *testing.T) {
	r := slow(t)
	r.commit = errDisk
	r.early(commitPatience, 0)
	r.holds <- struct{}{}
	if w := r.answer(0); !errors.Is(w.commit, errDisk) || w.write != nil || r.handed != 0 {
		t.Errorf("answer %v; batch %d was handed over", w, r.handed)
	}
	r.disconnected()
	r.commit = nil
	r.flush(commitRetry)
	if !r.current.kinds.Has(flow.Received) {
		t.Error("the repeated commit holds no PUBREC back")
	}
	r.holds <- struct{}{}
	r.answer(commitRetry)
	r.wantStored(2)
	r.wantPackets(1, 3)
	r.wantEvents("write", "refuse", "commit")
}

// PINGREQ is known to be written when the early write has ended, and only then.
func TestPingreqOvertakesASlowCommit(t *testing.T) {
	r := slow(t)
	r.pingreq()
	if !r.sending(1) {
		t.Error("another PINGREQ would be due")
	}
	if n, _ := r.flush(commitPatience); n != 2 {
		t.Fatalf("%d bytes", n)
	}
	if _, _, ping := r.done(<-r.answers()); !ping {
		t.Error("the early write had no PINGREQ")
	}
	r.holds <- struct{}{}
	if _, bytes, ping := r.done(<-r.answers()); !bytes || ping {
		t.Errorf("the batch had bytes %t, PINGREQ %t", bytes, ping)
	}
}

// A batch of which all packets were written early has no bytes left.
func TestABatchMayOvertakeItsOwnCommit(t *testing.T) {
	r := newOutboxRig(t)
	r.holds, r.lines = make(chan struct{}), make(chan struct{})
	r.change(1)
	r.puback(2)
	r.flush(0)
	r.flush(commitPatience)
	r.holds <- struct{}{}
	if !r.writing() || r.empty() {
		t.Errorf("during the early write: writing %t, empty %t", r.writing(), r.empty())
	}
	r.lines <- struct{}{}
	r.answer(0)
	if _, bytes, _ := r.done(<-r.answers()); bytes || r.writing() || !r.empty() {
		t.Errorf("after it: the batch has bytes %t, writing %t, empty %t", bytes, r.writing(), r.empty())
	}
	r.wantPackets(2)
}

// Without a connection only changes are on their way.
func TestNothingOvertakesWithoutAConnection(t *testing.T) {
	r := newOutboxRig(t)
	r.holds = make(chan struct{})
	r.disconnected()
	r.change(1)
	r.flush(0)
	r.flush(commitPatience)
	if r.outbox.early.busy {
		t.Error("an early write without a connection")
	}
	r.connected(r, r.terms)
	r.puback(2)
	r.early(commitPatience, 4)
	r.holds <- struct{}{}
	r.answer(0)
	r.wantPackets(2)
}

func TestWhichPacketsOvertakeWhichChanges(t *testing.T) {
	all := []flow.ChangeKind{flow.Accepted, flow.Assigned, flow.Released, flow.Completed, flow.Received, flow.Forgotten, flow.Cleared}
	waitFor := map[frames.Type][]flow.ChangeKind{
		frames.TypePuback: nil, frames.TypePingreq: nil, frames.TypeSubscribe: nil, frames.TypeUnsubscribe: nil,
		frames.TypePubrec: {flow.Received}, frames.TypePubrel: {flow.Released}, frames.TypePubcomp: {flow.Forgotten},
		frames.TypePublish: all, frames.TypeDisconnect: all,
	}
	for packet, kinds := range waitFor {
		for _, k := range all {
			if got, want := overtakes(packet, 1<<k), !slices.Contains(kinds, k); got != want {
				t.Errorf("%v overtakes change %d: %t", packet, k, got)
			}
		}
	}
}

// packetSize is right for packets of any length.
func TestPacketSize(t *testing.T) {
	for _, n := range []int{0, 120, 127, 128, 200, 16_383, 16_384, 70_000} {
		p := frames.Publish{Message: frames.Message{Topic: "t", Payload: make([]byte, n)}}
		bytes, err := p.Append(nil, frames.V311)
		if err != nil || packetSize(append(bytes, 0xc0, 0)) != len(bytes) {
			t.Errorf("size %d of %d bytes, %v", packetSize(bytes), len(bytes), err)
		}
	}
	if n := packetSize([]byte{0xc0, 0}); n != 2 {
		t.Errorf("PINGREQ has %d bytes", n)
	}
}
