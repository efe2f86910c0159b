package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// A reader makes connections, one at a time, and sends events to the loop: a failed attempt, a new
// connection, the packets of one read, the end of a connection. It waits only for the network and
// for the loop.
type reader struct {
	dialer  *link.Dialer
	topics  frames.Topics // topic names of earlier packets, owned by the reading goroutine
	aliases int           // how many topic aliases the broker may set
	spares  *spareBuffers

	events  chan event // unbuffered, never closed
	running sync.WaitGroup
}

// An event is a new connection, the packets of one read, or the error that ended an attempt or a
// connection.
type event struct {
	conn    *link.Conn
	packets []packet // owned by the receiver until it receives the next event
	buffer  []byte   // the read buffer in which the payloads lie, if it is a new one; otherwise nil
	err     error
}

func newReader(d *link.Dialer, aliases int, spares *spareBuffers) *reader {
	return &reader{dialer: d, aliases: aliases, spares: spares, events: make(chan event)}
}

// connect starts an attempt. ctx ends the attempt, not the connection.
func (r *reader) connect(ctx context.Context, q link.Request) {
	r.running.Go(func() { r.run(ctx, q) })
}

// run makes a connection and starts another goroutine to read from it. The stack of that goroutine
// is small, while dialing has grown the stack of this one.
func (r *reader) run(ctx context.Context, q link.Request) {
	c, err := r.dialer.Dial(ctx, q)
	r.tell(event{conn: c, err: err})
	if c != nil {
		c.Reader.Supply(r.spares.get)
		r.running.Go(func() { r.follow(c, r.decoder(c.Version)) })
	}
}

// tell sends an event to the loop, which receives until the end; see wait. It is not inlined, since
// its frame would enlarge the stack of a goroutine that waits for the network, and the runtime
// shrinks only stacks that are mostly unused.
//
//go:noinline
func (r *reader) tell(e event) { r.events <- e }

// follow reads from a connection until it ends, or until it is idle. Then another goroutine waits
// for the next bytes: a new goroutine has a small stack, and parsing has grown the stack of this
// one.
func (r *reader) follow(c *link.Conn, in decoder) {
	err := r.read(c, &in)
	if err != nil {
		r.tell(event{err: err})
		return
	}
	r.running.Go(func() {
		if err := c.Reader.Fill(); err != nil {
			r.tell(event{err: readError(err)})
			return
		}
		r.follow(c, in)
	})
}

// decoder returns the decoder of a new connection.
func (r *reader) decoder(v frames.Version) decoder {
	in := decoder{version: v, topics: &r.topics}
	if v >= frames.V5 {
		in.aliases = frames.NewAliases(uint16(r.aliases))
	}
	return in
}

// read decodes all packets that one read returned and sends them to the loop as one batch. Two
// batch buffers alternate. When the loop has received one batch, it no longer uses the other. It
// returns nil when the connection is idle.
func (r *reader) read(c *link.Conn, in *decoder) error {
	var batch, other []packet
	last := 0 // the number of the last read buffer
	for {
		var err error
		batch, err = in.decode(c.Reader, batch[:0])
		empty := len(batch) < batchPackets // the buffer has no more complete packets
		idle := len(batch) == 1 && batch[0].kind == frames.TypePingresp
		if len(batch) > 0 {
			e := event{packets: batch}
			if number, whole := c.Reader.Buffer(); number != last {
				e.buffer, last = whole, number
			}
			r.tell(e)
			batch, other = other, batch
		}
		if err != nil {
			return err
		}
		if !empty {
			continue
		}
		if idle && c.Reader.Shrink() {
			return nil
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

// wait drops events until the goroutines of the reader are gone, and at most for endGrace, since
// DialContext and the hooks of Options are code of the user. The connection must have been closed
// before. It returns false if one of them still runs. Its connection, if there will be one, is
// closed at once.
func (r *reader) wait() bool {
	gone, grace := make(chan struct{}), time.NewTimer(endGrace)
	defer grace.Stop()
	go func() {
		r.running.Wait()
		close(gone)
	}()
	if r.drop(gone, grace.C) {
		return true
	}
	go r.drop(gone, nil)
	return false
}

// drop drops events and closes new connections until gone is closed. It returns false at the end of
// the grace.
func (r *reader) drop(gone <-chan struct{}, grace <-chan time.Time) bool {
	for {
		select {
		case e := <-r.events:
			if e.conn != nil {
				e.conn.Abort()
			}
		case <-gone:
			return true
		case <-grace:
			return false
		}
	}
}
