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

// Publish waits for a client while one of these limits is exceeded.
const (
	aheadBytes    = 1 << 20 // bytes written to the client that it has not read
	aheadMessages = 4096    // messages that wait until the window has room
)

// Responder is a healthy broker that needs no script. It answers each packet at once and in order,
// and can route publications to subscriptions. Use it for load tests, benchmarks, and unit tests
// that need a broker without faults. One write carries the answers to all packets of a read.
//
// Responder has no retained messages and no wills. It keeps no session after a connection ends, so
// session present is always false. A client with overlapping filters gets one copy of a message.
// Each member of a shared subscription gets every message.
//
// The zero value acknowledges packets but does not route messages. Do not change the fields while
// the Responder serves. One Responder may serve any number of connections.
type Responder struct {
	Loopback bool // route each publication to all clients with a matching subscription, its sender included
	Window   int  // QoS 1 and 2 messages in flight to each client, 1 to 65,535; 0: 100

	received, sent [16]atomic.Int64 // packets by type

	mu    sync.Mutex
	peers []*peer // never changed in place: a copy replaces it, so that iterating needs no lock
}

// Serve answers the client on conn until the connection ends, and then closes conn. It returns nil
// if the client sent DISCONNECT or the connection broke, and an error if the client violated the
// protocol.
//
// Serve goes on reading while a write waits. Otherwise two sides that both wait to write would be a
// deadlock. A connection of a Broker without SendBuffer accepts every write at once; for any other
// connection, Serve starts a second goroutine that writes.
func (r *Responder) Serve(conn net.Conn) error {
	return r.serve(conn, frames.NewReader(conn, frames.MaxPacket), 0)
}

// serve takes over a connection. The reader in may already hold bytes of it. The version v is that
// of its CONNECT, or 0 if CONNECT has not arrived.
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

// Publish sends each message to every connected client with a matching subscription, and returns
// the number of copies. The QoS of a copy is the lower of the QoS of the message and the granted
// QoS. Publish waits while a client is far behind, which means 1 MiB unread or 4096 messages that
// wait until the window has room. Publish is safe for concurrent use.
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

// Clients returns the number of connections that r serves at present.
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

// Respond makes r serve every connection dialed from now on in the background, until the end of the
// test. Accept does not return these connections. A client that violates the protocol fails the
// test.
func (b *Broker) Respond(r *Responder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.auto = r
}

// Respond makes r serve this connection from now on. Subscriptions that the script granted are
// unknown to r. Only Stall, Resume, Drop, Abort and the counters may be used afterwards.
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

// ended returns nil if err only says that the connection has ended, and err otherwise.
func ended(err error) error {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return nil
		}
	}
	return err
}
