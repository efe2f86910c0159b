package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// A reader makes connections, one at a time, and passes events on: an attempt that failed, a
// connection, the packets of each read, the end of a connection. It waits for nothing but the
// network and the receiver of its events.
type reader struct {
	dialer *link.Dialer
	topics frames.Topics // topic names of earlier packets, owned by the reading goroutine

	events  chan event    // unbuffered, never closed
	quit    chan struct{} // closed when nobody receives events any more
	running sync.WaitGroup
}

// An event is a connection, the packets of one read, or the error of an attempt or a connection
// that has ended.
type event struct {
	conn    *link.Conn
	packets []packet // owned by the receiver until it receives the next event
	err     error
}

func newReader(d *link.Dialer) *reader {
	return &reader{dialer: d, events: make(chan event), quit: make(chan struct{})}
}

// connect starts one attempt. ctx ends the attempt, not the connection.
func (r *reader) connect(ctx context.Context) { r.running.Go(func() { r.run(ctx) }) }

// run makes a connection and starts another goroutine to read it, whose stack dialing has not made
// large.
func (r *reader) run(ctx context.Context) {
	c, err := r.dialer.Dial(ctx)
	ok := r.tell(event{conn: c, err: err})
	switch {
	case c == nil:
	case ok:
		r.running.Go(func() { r.tell(event{err: r.read(c)}) })
	default:
		c.Abort()
	}
}

// tell passes an event on; false after stop. It is not inlined: it would take room on the stack of
// a goroutine that waits for the network, and the runtime takes half of a stack back that is little
// used.
//
//go:noinline
func (r *reader) tell(e event) bool {
	select {
	case r.events <- e:
		return true
	case <-r.quit:
		return false
	}
}

// read decodes all packets that a read returned and passes them on as one batch. Two batches
// alternate: the receiver of one is done with the other.
func (r *reader) read(c *link.Conn) error {
	var batch, other []packet
	for {
		var err error
		batch, err = decode(c.Reader, c.Version, &r.topics, batch[:0])
		last := len(batch) < batchPackets // there is no more in the buffer
		idle := len(batch) == 1 && batch[0].kind == frames.TypePingresp
		if len(batch) > 0 {
			if !r.tell(event{packets: batch}) {
				return context.Canceled
			}
			batch, other = other, batch
		}
		if err != nil {
			return err
		}
		if !last {
			continue
		}
		if idle {
			batch, other = nil, nil
			c.Reader.Shrink()
		}
		if err := c.Reader.Fill(); err != nil {
			return readError(err)
		}
	}
}

//go:noinline
func readError(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("mqtt: the broker closed the connection: %w", err)
	}
	return fmt.Errorf("mqtt: read: %w", err)
}

// stop ends the reader: events are not delivered any more. The connection must have been closed.
func (r *reader) stop() { close(r.quit) }

// wait returns when its goroutines are gone.
func (r *reader) wait() { r.running.Wait() }
