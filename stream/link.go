package stream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// A link is one connection to the broker whose handshake has succeeded.
type link struct {
	endpoint *endpoint
	conn     net.Conn   // TLS and WebSocket, if any, included: read by the reader, written by the loop and the writer
	raw      *timedConn // under it
	socket   *socket    // conn, if it is nothing but a socket; owned by the loop while the writer is idle
	reader   *frames.Reader
	connack  frames.Connack
	began    time.Time     // when CONNECT was sent
	bytesIn  atomic.Uint64 // everything read, whole packets or not
}

// open puts what the endpoint's scheme asks for on top of the raw connection:
// nothing of MQTT is written before the broker is verified.
func (l *link) open(ctx context.Context, c *tls.Config, o *Options) (err error) {
	l.conn = l.raw
	if !l.endpoint.tls && l.endpoint.path == "" {
		l.socket = socketOf(l.raw.Conn)
	}
	if l.endpoint.tls {
		t := tls.Client(l.raw, c)
		if err := t.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("mqtt: TLS: %w", err)
		}
		l.conn = t
	}
	if l.endpoint.path != "" {
		l.conn, err = dialWebSocket(ctx, l.conn, l.endpoint, o)
	}
	return err
}

// tlsConfig is the configuration of the next connection: the user's of the
// moment, with the name in the URL, the protocol that goes over it, and TLS 1.2
// at least.
func (s *Session) tlsConfig(ctx context.Context, e *endpoint) (*tls.Config, error) {
	if !e.tls {
		return nil, nil
	}
	c := s.options.TLS
	if s.options.TLSConfig != nil {
		var err error
		if c, err = s.options.TLSConfig(ctx); err != nil {
			return nil, fmt.Errorf("mqtt: TLSConfig: %w", because(ctx, err))
		}
	}
	if c = c.Clone(); c == nil {
		c = new(tls.Config)
	}
	if c.ServerName == "" {
		c.ServerName = e.host
	}
	if e.path != "" {
		c.NextProtos = []string{"http/1.1"} // a WebSocket cannot be opened over HTTP/2 here
	} else if c.NextProtos == nil {
		c.NextProtos = []string{"mqtt"}
	}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c, nil
}

// try writes what the connection takes without waiting, which may be nothing.
func (l *link) try(p []byte) int {
	if l.socket == nil || l.raw.ending() {
		return 0
	}
	return l.socket.try(p)
}

// hangUp closes the connection under TLS: a close that must not wait for a
// peer, and that is not to look like an orderly end.
func (l *link) hangUp() { l.raw.Close() }

// closeWrite tells the broker that nothing more comes, where the connection can.
func (l *link) closeWrite() {
	if c, ok := l.conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite() // its failure shows in what is read
	}
}

// hangUpOrderly closes after DISCONNECT.
func (l *link) hangUpOrderly() { l.conn.Close() }
