package stream

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// timedConn bounds how long a write may make no progress. It lies under TLS,
// where a write that timed out could not be continued.
type timedConn struct {
	net.Conn
	timeout time.Duration // 0: none
	final   atomic.Bool   // the last deadline was set, nothing renews it
}

func (c *timedConn) Write(p []byte) (n int, err error) {
	for {
		if c.timeout > 0 && !c.final.Load() {
			c.Conn.SetWriteDeadline(time.Now().Add(c.timeout)) // a connection without deadlines has no timeout
			if c.final.Load() {                                // finish came in between: its deadline holds
				c.finish()
			}
		}
		m, err := c.Conn.Write(p[n:])
		n += m
		if err == nil || m == 0 || c.final.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
}

// SetWriteDeadline is for TLS, which sets one of its own when it closes: not
// past the last one.
func (c *timedConn) SetWriteDeadline(t time.Time) error {
	if c.final.Load() {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// CloseWrite closes one direction of a connection that knows two.
func (c *timedConn) CloseWrite() error {
	if c, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// lastWrites is how long Close waits for what it has to write.
const lastWrites = time.Second

// finish gives all writes from here on, and one under way, a last deadline.
func (c *timedConn) finish() {
	c.final.Store(true)
	c.Conn.SetWriteDeadline(time.Now().Add(lastWrites))
}
