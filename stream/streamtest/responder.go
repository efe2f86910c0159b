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
// On MQTT 5 a Responder assigns a client identifier to a client without one, grants the options and
// identifiers of subscriptions, and passes on the properties of a message. It has no more messages
// in flight to a client than the client's receive maximum. A message drops out if it is larger than
// the client's maximum packet size, or if it expires while it waits; see [Responder.Dropped].
//
// The zero value acknowledges packets but does not route messages. Do not change the fields while
// the Responder serves. One Responder may serve any number of connections.
type Responder struct {
	Loopback bool // route each publication to all clients with a matching subscription, its sender included
	Window   int  // QoS 1 and 2 messages in flight to each client, 1 to 65,535; 0: 100

	// Versions are the versions that the broker knows; empty: all. A CONNECT of another version
	// gets CONNACK with return code 1, in the form of 3.1.1, and the connection is closed. So a
	// client that falls back to an older version can be tested.
	Versions []frames.Version

	// Connack is announced to clients of MQTT 5. A client that exceeds ReceiveMaximum, MaximumQoS,
	// MaximumPacket or TopicAliasMaximum violates the protocol, as does one that sends RETAIN in
	// spite of NoRetain. A filter is granted at most MaximumQoS, and refused if NoWildcards,
	// NoSubscriptionIDs or NoSharedSubscriptions rules it out. Only clients with an empty client
	// identifier get AssignedClientID; if it is empty, they get one that is made up. The other
	// fields have no effect on the Responder.
	//
	// Publications count against ReceiveMaximum until their last acknowledgment is written.
	Connack frames.ConnackProperties

	received, sent    [16]atomic.Int64 // packets by type
	dropped, assigned atomic.Int64

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
	return r.serve(newPeer(r, conn, frames.NewReader(conn, frames.MaxPacket)))
}

func (r *Responder) serve(p *peer) error {
	r.join(p)
	err := p.run()
	r.leave(p)
	_ = p.conn.Close()
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
			if p.route(m, nil) {
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

// Dropped returns the number of copies of messages that r has not sent, because they were larger
// than the client's maximum packet size, or expired while they waited.
func (r *Responder) Dropped() int { return int(r.dropped.Load()) }

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
// unknown to r, but the limits and topic aliases of MQTT 5 hold on. Only Stall, Resume, Drop, Abort
// and the counters may be used afterwards.
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
	c.broker.served.Go(func() {
		p := newPeer(r, c.rw, c.in)
		if c.connected {
			p.begin(c.version, c.wanted, c.announced)
			p.aliases = c.aliases
		}
		if err := r.serve(p); err != nil {
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
