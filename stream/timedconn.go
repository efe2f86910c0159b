package stream

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// timedConn bounds how long a write may make no progress. It lies under TLS,
// where a write that timed out could not be continued.
type timedConn struct {
	net.Conn
	timeout time.Duration // 0: none

	mu      sync.Mutex
	writing bool
	final   bool        // what is written from here on has one second
	end     *time.Timer // closes the connection when it has passed; nil: it has not begun
}

func (c *timedConn) Write(p []byte) (n int, err error) {
	defer c.wrote()
	for {
		final := c.renew()
		m, err := c.Conn.Write(p[n:])
		n += m
		if err == nil || m == 0 || final || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
}

// renew gives a write the time that it may take without progress; the last ones
// have what is left of theirs.
func (c *timedConn) renew() (final bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = true
	switch {
	case c.final:
		c.last()
	case c.timeout > 0:
		c.Conn.SetWriteDeadline(time.Now().Add(c.timeout)) // a connection without deadlines has no timeout
	}
	return c.final
}

// wrote ends the time of a write: a deadline that has passed would stop those
// that do not wait.
func (c *timedConn) wrote() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	if c.timeout > 0 && c.end == nil {
		c.Conn.SetWriteDeadline(time.Time{})
	}
}

// ending reports that only the last writes are left.
func (c *timedConn) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.final
}

// SetWriteDeadline is for TLS, which sets one of its own when it closes: not
// past the last one.
func (c *timedConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.final {
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

// lastWrites is how long Close waits for what it has to write, and for the broker
// to close.
const lastWrites = time.Second

// finish gives all writes from here on, one under way included, a second
// together. It begins with the first of them: a commit that is slow comes before.
func (c *timedConn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.final = true
	if c.writing {
		c.last()
	}
}

// last begins the last second, if it has not begun. When it has passed the
// connection is closed, for one that knows no deadlines and for a broker that
// does not close. The caller holds mu.
func (c *timedConn) last() {
	if c.end == nil {
		c.Conn.SetWriteDeadline(time.Now().Add(lastWrites))
		c.end = time.AfterFunc(lastWrites, func() { c.Conn.Close() })
	}
}

// finished ends the wait for the last second.
func (c *timedConn) finished() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end != nil {
		c.end.Stop()
	}
}
