// Package link makes connections to brokers: it parses the URL of an endpoint, dials, adds TLS and
// WebSocket, and exchanges CONNECT and CONNACK. A [Dialer] takes a [Config] and gives a [Conn]. The
// package knows nothing of sessions: its caller decides when to connect, and uses the connection
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

// A Conn is one connection to a broker whose handshake has succeeded. One goroutine reads it
// through Reader. One at a time writes, with Write or TryWrite. The others are safe for any
// goroutine.
type Conn struct {
	Endpoint string // the broker's URL without user, password and query
	Version  frames.Version
	Connack  frames.Connack
	Began    time.Time // when CONNECT was sent
	Reader   *frames.Reader

	net.Conn               // TLS and WebSocket, if any, included
	raw      *deadlineConn // the connection under it
	socket   *socket       // raw, if nothing lies on top of it and it is a socket
	bytesIn  atomic.Uint64
}

// secure adds TLS and WebSocket as the scheme of e asks for: nothing of MQTT is written before the
// broker is verified.
func (c *Conn) secure(ctx context.Context, e *Endpoint, t *tls.Config, config *Config) (err error) {
	c.Conn = c.raw
	if !e.tls && !e.WebSocket() {
		c.socket = socketOf(c.raw.Conn)
	}
	if e.tls {
		secured := tls.Client(c.raw, t)
		if err := secured.HandshakeContext(ctx); err != nil {
			return wrap("TLS: ", err)
		}
		c.Conn = secured
	}
	if e.WebSocket() {
		c.Conn, err = dialWebSocket(ctx, c.Conn, e, config)
	}
	return err
}

// BytesIn returns how many bytes were read since the connection began, parts of packets included.
func (c *Conn) BytesIn() uint64 { return c.bytesIn.Load() }

// TryWrite writes as much of p as the connection accepts without waiting, which may be nothing, and
// returns how much.
func (c *Conn) TryWrite(p []byte) int {
	if c.socket == nil || c.raw.isClosing() {
		return 0
	}
	return c.socket.try(p)
}

// Abort closes the connection under TLS: it does not wait for the peer, and does not look like an
// orderly end.
func (c *Conn) Abort() { c.raw.Close() }

// CloseWrite tells the broker that nothing more comes, on a connection that can be closed in one
// direction.
func (c *Conn) CloseWrite() {
	if c, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite() // its failure shows in the reads
	}
}

// LimitClose gives all further writes, and the broker's end of the connection, one second together.
// It begins with the first of those writes; a slow commit comes before. When it has passed the
// connection is closed. stop ends the limit.
func (c *Conn) LimitClose() (stop func()) {
	c.raw.startClosing()
	return c.raw.stopClosing
}
