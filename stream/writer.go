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
	number uint64
	ping   bool // bytes has a PINGREQ
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

// written is the writer's answer. At most one of the errors is set.
type written struct {
	commit error // no change was applied and nothing was written
	write  error
}

// A writer commits and writes one batch at a time, on a goroutine of its own. The goroutine ends
// when the session is idle, so that its stack and its channels take no memory. The next batch is
// sent only after the answer to the previous batch, so neither channel blocks its sender.
type writer struct {
	store   flow.Store
	gate    *commitGate  // made with the first goroutine that has a Store
	jobs    chan job     // cap 1; nil while there is no goroutine
	answers chan written // cap 1; nil while there is no goroutine
	running sync.WaitGroup
}

// write passes a job to the goroutine at the time now, and starts the goroutine if there is none.
func (w *writer) write(j job, now time.Duration) {
	if w.jobs == nil {
		jobs, answers := make(chan job, 1), make(chan written, 1)
		w.jobs, w.answers = jobs, answers
		if w.store != nil && w.gate == nil {
			w.gate = new(commitGate)
		}
		store, gate := w.store, w.gate
		w.running.Go(func() { runWriter(store, gate, jobs, answers) })
	}
	if w.gate != nil {
		w.gate.began, w.gate.reported = now, false
	}
	w.jobs <- j
}

// rest stops the goroutine. No answer of the goroutine may be outstanding.
func (w *writer) rest() {
	if w.jobs != nil {
		close(w.jobs)
		w.jobs, w.answers = nil, nil
	}
}

func runWriter(store flow.Store, gate *commitGate, jobs <-chan job, answers chan<- written) {
	for j := range jobs {
		var w written
		if len(j.changes) > 0 {
			if err := gate.commit(store, j.changes); err != nil {
				w.commit = fmt.Errorf("mqtt: store: %w", err)
			}
		}
		if w.commit == nil && len(j.bytes) > 0 {
			if _, err := j.conn.Write(j.bytes); err != nil {
				w.write = fmt.Errorf("mqtt: write: %w", err)
			}
		}
		answers <- w
	}
}
