package streamtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/go-millrace/mqtt/frames"
)

// Limits on how far Publish runs ahead of a client before it waits.
const (
	aheadBytes    = 1 << 20 // sent and not read
	aheadMessages = 4096    // waiting for the window
)

// Responder is a broker without a script: it answers each packet as a healthy broker does, at once
// and in order, and can route publications to subscriptions. It is made for load tests and
// benchmarks, and for unit tests that need a broker without faults. The packets of one read are
// answered in one write.
//
// It has no retained messages, wills or kept sessions: each connection begins anew, and session
// present is false. Overlapping filters yield one copy, and each member of a shared subscription
// gets every message.
//
// The zero value acknowledges and routes nothing. The fields must not change while it serves. One
// Responder may serve any number of connections.
type Responder struct {
	Loopback bool // publications of clients are routed to the subscriptions of all clients served, including their own
	Window   int  // QoS 1 and 2 messages in flight to each client, 1 to 65,535; 0: 100

	received, sent [16]atomic.Int64 // packets by type

	mu    sync.Mutex
	peers []*peer // replaced as a whole, so that iterating needs no lock
}

// Serve answers a client on conn until the connection ends, then closes it. It returns nil if the
// client sent DISCONNECT or the connection broke, and an error if the client violated the protocol.
//
// Serve never stops reading in order to write: a client that does the same would cause a deadlock.
// Connections of a Broker accept every write; for others, a second goroutine writes.
func (r *Responder) Serve(conn net.Conn) error {
	return r.serve(conn, frames.NewReader(conn, frames.MaxPacket), 0)
}

// serve continues a connection: in may hold bytes already, and v is the version of its CONNECT, 0
// before that.
func (r *Responder) serve(conn net.Conn, in *frames.Reader, v frames.Version) error {
	p := newPeer(r, conn, in, v)
	r.join(p)
	err := p.run()
	r.leave(p)
	_ = conn.Close()
	p.finish()
	if err != nil {
		return fmt.Errorf("responder: %w", err)
	}
	return nil
}

// Publish sends messages to every connected client with a matching subscription, at the lower of
// the two QoS, and returns the number of copies. It waits while a client is far behind: 1 MiB
// unread or 4096 messages that wait for the window. It is safe for concurrent use.
func (r *Responder) Publish(messages ...frames.Message) int {
	n := 0
	for _, p := range r.clients() {
		p.await()
		for _, m := range messages {
			if p.route(m, false) {
				n++
			}
		}
		p.flush()
	}
	return n
}

// Received returns the number of packets of type t received from clients.
func (r *Responder) Received(t frames.Type) int { return int(r.received[t&15].Load()) }

// Sent returns the number of packets of type t sent to clients.
func (r *Responder) Sent(t frames.Type) int { return int(r.sent[t&15].Load()) }

// Clients returns the number of connections served now.
func (r *Responder) Clients() int { return len(r.clients()) }

func (r *Responder) clients() []*peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peers
}

func (r *Responder) join(p *peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers = append(slices.Clone(r.peers), p)
}

func (r *Responder) leave(p *peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peers = slices.DeleteFunc(slices.Clone(r.peers), func(q *peer) bool { return q == p })
}

// Respond makes r serve every later dial in the background, until the end of the test. Accept does
// not return these connections. A client that violates the protocol fails the test.
func (b *Broker) Respond(r *Responder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.auto = r
}

// Respond makes r serve the rest of this connection, as Broker.Respond does from the start. Earlier
// subscriptions are unknown to r. Only Stall, Resume, Drop, Abort and the counters may be used
// afterwards.
func (c *Conn) Respond(r *Responder) {
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	c.respond(r)
}

// respond starts r on a connection. The caller holds the broker's mu, so that Close waits for the
// new goroutine.
func (c *Conn) respond(r *Responder) {
	if c.broker.done {
		return
	}
	v := c.version
	if !c.connected {
		v = 0
	}
	c.broker.served.Go(func() {
		if err := r.serve(c.rw, c.in, v); err != nil {
			c.tb.Errorf("%s: %v", c.where(), err)
		}
	})
}

// ended maps an error that only says the connection is over to nil.
func ended(err error) error {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return nil
		}
	}
	return err
}
