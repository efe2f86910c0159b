package streamtest

import (
	"sync"
	"testing"
	"time"
)

// backlog is the number of connections that may wait for Accept before Dial blocks.
const backlog = 128

// Broker is a broker for tests. Clients dial it, and the test accepts their connections one by one.
// Dial is safe for concurrent use. Only the goroutine that runs the test may call the other
// methods.
type Broker struct {
	tb testing.TB
	o  settings

	dialed chan *Conn    // Dial sends, Accept receives; never closed
	closed chan struct{} // closed by Close
	served sync.WaitGroup

	lastID uint16 // of Conn.Publish; owned by the goroutine that runs the test

	// Guarded by mu.
	mu    sync.Mutex
	plan  []rule
	dials []Dialing
	conns []*Conn
	auto  *Responder
	done  bool
}

// New makes a Broker that lasts until the end of the test. In a synctest bubble, call it inside the
// bubble, with the bubble's own T.
func New(tb testing.TB, opts ...Option) *Broker {
	b := &Broker{
		tb:     tb,
		dialed: make(chan *Conn, backlog),
		closed: make(chan struct{}),
	}
	for _, set := range opts {
		set(&b.o)
	}
	if b.o.timeout <= 0 {
		b.o.timeout = defaultTimeout()
	}
	if b.o.tcp && inBubble() {
		tb.Fatalf("streamtest: the option TCP does not work in a synctest bubble")
	}
	tb.Cleanup(b.Close)
	return b
}

// Accept returns the next connection that a client dialed. It waits for one if necessary.
func (b *Broker) Accept() *Conn {
	b.tb.Helper()
	c := b.accept(b.o.timeout)
	if c == nil {
		b.tb.Fatalf("streamtest: wanted a connection, but the client has not dialed for %v", b.o.timeout)
	}
	return c
}

// Handshake calls Accept, then Conn.Handshake.
func (b *Broker) Handshake(sessionPresent bool) *Conn {
	b.tb.Helper()
	c := b.Accept()
	c.Handshake(sessionPresent)
	return c
}

// ExpectNoDial waits for d. It fails if a client dials during that time.
func (b *Broker) ExpectNoDial(d time.Duration) {
	b.tb.Helper()
	if c := b.accept(d); c != nil {
		b.tb.Fatalf("streamtest: wanted no connection within %v, but the client dialed %s", d, c.client.RemoteAddr())
	}
}

func (b *Broker) accept(within time.Duration) *Conn {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case c := <-b.dialed:
		return c
	case <-t.C:
		return nil
	}
}

// Close ends all connections and all hanging dials, and waits for the goroutines of Respond and
// of TCP. The end of the test calls Close too. Close is idempotent.
func (b *Broker) Close() {
	b.mu.Lock()
	if !b.done {
		b.done = true
		close(b.closed)
	}
	conns := b.conns
	b.mu.Unlock()
	for _, c := range conns {
		_ = c.end.Close()
		if c.socket != nil {
			c.socket.stop()
		}
	}
	b.served.Wait()
}
