// Package link makes connections to brokers: it parses the URL of an endpoint, dials, adds TLS and
// WebSocket, and exchanges CONNECT and CONNACK. A [Dialer] has a [Config] and returns a [Conn]. The
// package knows nothing of sessions. Its caller decides when to connect, and uses the connection
// after the handshake.
package link

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// A Conn is one connection to a broker, after CONNECT and CONNACK. Only one goroutine reads,
// through Reader. Only one goroutine at a time writes, with Write or TryWrite. All other methods
// are safe for concurrent use. Its parts are values, not pointers, since an idle Conn needs less
// memory as a single object.
type Conn struct {
	Endpoint string // the broker's URL without user, password and query
	Version  frames.Version
	ClientID string // as the CONNECT has it, or as the broker has assigned it
	HasWill  bool
	Connack  frames.Connack
	Began    time.Time // when CONNECT was sent
	Reader   *frames.Reader
	Auth     *Authentication // nil without one

	net.Conn              // the connection with TLS and WebSocket, if used
	raw      deadlineConn // the network connection under TLS and WebSocket
	socket   socket       // the socket of raw, if there is one and neither TLS nor WebSocket is used
	bytesIn  atomic.Uint64
	first    *firstBytes // during the handshake; nil afterwards
}

// secure adds TLS and WebSocket if the scheme of e demands them. TLS has verified the broker before
// any MQTT packet is written.
func (c *Conn) secure(ctx context.Context, e *Endpoint, a *Attempt, config *Config) (err error) {
	c.Conn = &c.raw
	if !e.tls && !e.WebSocket() {
		c.socket.open(c.raw.Conn)
	}
	if e.tls {
		secured := tls.Client(&c.raw, tlsConfig(e, a.TLS))
		if err := secured.HandshakeContext(ctx); err != nil {
			return wrap("TLS: ", err)
		}
		c.Conn = secured
	}
	if e.WebSocket() {
		c.Conn, err = dialWebSocket(ctx, c.Conn, e, a.Header, config)
	}
	return err
}

// A source is a Conn as its Reader sees it: it counts the bytes read.
type source Conn

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.bytesIn.Add(uint64(n))
	if s.first != nil {
		s.first.add(p[:n])
	}
	return n, err
}

// BytesIn returns the number of bytes read since the connection began. Incomplete packets are
// included.
func (c *Conn) BytesIn() uint64 { return c.bytesIn.Load() }

// Write writes p, which has whole packets.
func (c *Conn) Write(p []byte) (int, error) {
	c.raw.writePackets(true)
	defer c.raw.writePackets(false)
	return c.Conn.Write(p)
}

// TryWrite writes as many bytes of p as the connection accepts without waiting, and returns their
// number, which may be 0.
func (c *Conn) TryWrite(p []byte) int {
	if !c.socket.isOpen() || c.raw.isClosing() {
		return 0
	}
	n := c.socket.try(p)
	c.raw.sent.Add(uint64(n))
	return n
}

// Direct reports whether TryWrite may write anything.
func (c *Conn) Direct() bool { return c.socket.isOpen() }

// Abort closes the network connection under TLS, without the close message of TLS. It does not wait
// for the broker, which sees that the connection was broken off.
func (c *Conn) Abort() { c.raw.Close() }

// CloseWrite tells the broker that no more bytes come, if the connection can be closed in one
// direction.
func (c *Conn) CloseWrite() {
	c.raw.writePackets(true) // begins the second, if no call of Write has
	defer c.raw.writePackets(false)
	if c, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite() // if it fails, reads fail too
	}
}

// HalfClose tells the broker that no more bytes come, without the close messages of TLS and
// WebSocket, and does not wait. After closeLimit the connection is closed. It returns false if the
// connection cannot be closed in one direction.
func (c *Conn) HalfClose() bool {
	c.raw.startClosing()
	c.raw.writePackets(true)
	defer c.raw.writePackets(false)
	return c.raw.CloseWrite() == nil
}

// LimitClose limits all further calls of Write, and the wait for the broker to close its side, to
// one second in total. The second begins with the first of those calls, so neither a slow commit
// before it counts, nor the pongs that a WebSocket sends meanwhile. After the second the connection
// is closed. After another call, the writes that follow it have a second of their own. The function
// stop removes the limit.
func (c *Conn) LimitClose() (stop func()) {
	c.raw.startClosing()
	return c.raw.stopClosing
}
