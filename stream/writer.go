package stream

import (
	"fmt"
	"net"

	"github.com/go-millrace/mqtt/flow"
)

// A batch is what the writer does in one go: commit the changes, then write the
// bytes that depend on them. The loop fills one while the writer has the other.
type batch struct {
	number uint64
	buffers
	conn net.Conn // nil: there is nothing but changes
}

// buffers are what a batch is filled into.
type buffers struct {
	changes []flow.Change
	bytes   []byte
}

// batchBytes is how much of publishing goes into one batch. Acks come on top.
const batchBytes = 64 << 10

// written is the writer's answer. At most one of the errors is set.
type written struct {
	commit error // nothing was changed and nothing was written
	write  error
}

// runWriter owns the write side of the connection while it has a batch. The loop
// sends the next batch only after the answer to the one before, so neither channel
// ever blocks its sender.
func (s *Session) runWriter(batches <-chan batch, writes chan<- written) {
	for b := range batches {
		var w written
		if len(b.changes) > 0 {
			if err := s.options.Store.Commit(b.changes); err != nil {
				w.commit = fmt.Errorf("mqtt: store: %w", err)
			}
		}
		if w.commit == nil && len(b.bytes) > 0 {
			if _, err := b.conn.Write(b.bytes); err != nil {
				w.write = fmt.Errorf("mqtt: write: %w", err)
			}
		}
		writes <- w
	}
}
