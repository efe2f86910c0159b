package stream

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// A batch is one job of the writer, which commits the changes and then writes the bytes that depend
// on them.
type batch struct {
	number   uint64
	ping     bool             // bytes has a PINGREQ
	kinds    flow.ChangeKinds // of the changes
	examined int              // bytes that overtake has left in the batch
	buffers
}

// A job is a batch, and the connection for its bytes.
type job struct {
	batch
	conn wire
}

// buffers hold the content of a batch.
type buffers struct {
	changes []flow.Change
	bytes   []byte
}

// A wire is the interface of a connection that batches are written to.
type wire interface {
	io.Writer
	TryWrite([]byte) int // writes as many bytes as the connection accepts without waiting
}

// written is the result of a batch or of an early write. At most one of the errors is set.
type written struct {
	early  bool  // of an early write; the result of the batch follows
	commit error // no change was applied, and the bytes that depend on the changes were not written
	write  error
}

// A writer commits and writes one batch at a time, on a goroutine of its own. The goroutine ends
// when the session is idle, so that its stack and its channels take no memory. The next batch is
// sent only after the answer to the previous batch, so neither channel blocks its sender. While a
// commit is under way, an early write may send bytes of packets that overtake the commit, on a
// goroutine that ends with the write. The answer to the batch comes after the answer to its last
// early write.
type writer struct {
	store   flow.Store
	timings *timings
	gate    *commitGate  // made with the first goroutine that has a Store
	jobs    chan job     // cap 1; nil while there is no goroutine
	answers chan written // cap 2; nil while there is no goroutine
	running sync.WaitGroup
}

// write passes a job to the goroutine at the time now, and starts the goroutine if there is none.
func (w *writer) write(j job, now time.Duration) {
	if w.jobs == nil {
		jobs, answers := make(chan job, 1), make(chan written, 2)
		w.jobs, w.answers = jobs, answers
		if w.store != nil && w.gate == nil {
			w.gate = new(commitGate)
		}
		store, gate, timings := w.store, w.gate, w.timings
		w.running.Go(func() { runWriter(store, gate, timings, jobs, answers) })
	}
	if len(j.changes) > 0 {
		w.gate.enter(j.bytes, now)
	}
	w.jobs <- j
}

// writeEarly writes bytes during a commit, on a goroutine of its own. The result goes to the loop
// and then to the writer, which waits for it.
func (w *writer) writeEarly(conn wire, bytes []byte, result chan<- error) {
	answers := w.answers
	w.running.Go(func() {
		err := write(conn, bytes)
		answers <- written{early: true, write: err}
		result <- err // cap 1
	})
}

// rest stops the goroutine. No answer of the goroutine may be outstanding.
func (w *writer) rest() {
	if w.jobs != nil {
		close(w.jobs)
		w.jobs, w.answers = nil, nil
	}
}

func runWriter(store flow.Store, gate *commitGate, t *timings, jobs <-chan job, answers chan<- written) {
	for j := range jobs {
		var w written
		if len(j.changes) > 0 {
			began := t.committing()
			if err := store.Commit(j.changes); err != nil {
				w.commit = fmt.Errorf("mqtt: store: %w", err)
			} else {
				t.committed(began)
			}
			var early error
			if j.bytes, early = gate.leave(); w.commit == nil {
				w.write = early
			}
		}
		if w.commit == nil && w.write == nil {
			w.write = write(j.conn, j.bytes)
		}
		answers <- w
	}
}

func write(conn wire, bytes []byte) error {
	if len(bytes) == 0 {
		return nil
	}
	if _, err := conn.Write(bytes); err != nil {
		return fmt.Errorf("mqtt: write: %w", err)
	}
	return nil
}
