package stream

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

var errDisk = errors.New("disk full")

// An outboxRig is an outbox with a Store and a connection that record, in one list, everything
// handed to them. Its journal is filled through a Receiver.
type outboxRig struct {
	*outbox
	t        testing.TB
	receiver *flow.Receiver

	holds chan struct{} // if set, each Commit receives from it first
	lines chan struct{} // if set, each Write receives from it first

	// Written by the writer while a batch is on its way, read by the test after its answer.
	mu       sync.Mutex // held by the Store and the connection, which may run at the same time
	events   []string   // "try", "write", "commit", "refuse"
	accepts  int        // bytes that one TryWrite accepts; -1: all
	bytes    []byte     // that the connection took
	writeErr error
	commit   error         // of the next commits
	stored   []flow.Change // applied commits
}

func newOutboxRig(t testing.TB) *outboxRig {
	r := &outboxRig{t: t, accepts: -1}
	journal := new(flow.Journal)
	r.receiver = flow.NewReceiver(journal)
	o := newOutbox(quietLog(), r, journal)
	r.outbox = &o
	o.connected(r, &terms{version: frames.V311, limits: limits{maxPacket: frames.MaxPacket}})
	t.Cleanup(func() {
		for _, held := range []chan struct{}{r.holds, r.lines} {
			if held != nil {
				close(held)
			}
		}
		o.end()
	})
	return r
}

func quietLog() *packetLog { return &packetLog{Logger: slog.New(slog.DiscardHandler)} }

// The Store.

func (r *outboxRig) Attach(string) (flow.Snapshot, error) { return flow.Snapshot{}, nil }
func (r *outboxRig) Detach() error                        { return nil }

func (r *outboxRig) Commit(changes []flow.Change) error {
	if r.holds != nil {
		<-r.holds
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.commit != nil {
		r.events = append(r.events, "refuse")
		return r.commit
	}
	r.events = append(r.events, "commit")
	r.stored = append(r.stored, changes...)
	return nil
}

// The connection.

func (r *outboxRig) TryWrite(p []byte) int {
	r.events = append(r.events, "try")
	n := len(p)
	if r.accepts >= 0 {
		n = min(n, r.accepts)
	}
	r.bytes = append(r.bytes, p[:n]...)
	return n
}

func (r *outboxRig) Write(p []byte) (int, error) {
	if r.lines != nil {
		<-r.lines
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, "write")
	if r.writeErr != nil {
		return 0, r.writeErr
	}
	r.bytes = append(r.bytes, p...)
	return len(p), nil
}

// change puts a change that names id into the journal.
func (r *outboxRig) change(id uint16) {
	seq, _ := r.receiver.Arrive(frames.ExactlyOnce, id, false, 1)
	r.receiver.Ack(seq)
}

// puback adds a PUBACK of id.
func (r *outboxRig) puback(id uint16) { r.ack(frames.Ack{Kind: frames.TypePuback, ID: id}) }

// answer takes the answer of the writer, as the loop does, and returns it.
func (r *outboxRig) answer(now time.Duration) written {
	r.t.Helper()
	if !r.busy || r.answers() == nil {
		r.t.Fatal("the writer has no batch")
	}
	w := <-r.answers()
	if w.commit != nil {
		r.uncommitted(w.commit, now, func(c []flow.Change) []flow.Change { return c })
	} else {
		r.done(w)
	}
	return w
}

// wantEvents checks the events since the last call.
func (r *outboxRig) wantEvents(want ...string) {
	r.t.Helper()
	if !slices.Equal(r.events, want) {
		r.t.Errorf("events %q, want %q", r.events, want)
	}
	r.events = nil
}

// wantPackets checks the identifiers of the acks that the connection took, all of them.
func (r *outboxRig) wantPackets(want ...uint16) {
	r.t.Helper()
	if got := ackIDs(r.t, r.bytes); !slices.Equal(got, want) {
		r.t.Errorf("packets %d, want %d", got, want)
	}
}

// ackIDs decodes a stream of whole acks.
func ackIDs(t testing.TB, stream []byte) (ids []uint16) {
	t.Helper()
	for len(stream) > 0 {
		if len(stream) < 4 || stream[1] != 2 {
			t.Fatalf("no whole ack: % x", stream)
		}
		ids = append(ids, uint16(stream[2])<<8|uint16(stream[3]))
		stream = stream[4:]
	}
	return ids
}

// wantStored checks the identifiers of all changes that the Store applied.
func (r *outboxRig) wantStored(want ...uint16) {
	r.t.Helper()
	if got := changeIDs(r.stored); !slices.Equal(got, want) {
		r.t.Errorf("stored %d, want %d", got, want)
	}
}

func changeIDs(changes []flow.Change) (ids []uint16) {
	for _, c := range changes {
		ids = append(ids, c.ID)
	}
	return ids
}
