package link

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// A deadlineConn bounds how long a write may make no progress, and how long the end of a connection
// may take. It lies under TLS, where a write that timed out could not be continued.
type deadlineConn struct {
	net.Conn
	timeout time.Duration // of a write without progress; 0 is unlimited

	mu      sync.Mutex
	writing bool
	closing bool        // all further writes have closeLimit together
	end     *time.Timer // closes the connection at the end of closeLimit; nil while that has not begun
}

// closeLimit bounds the last writes of a connection and the wait for the broker to close its end.
const closeLimit = time.Second

func (c *deadlineConn) Write(p []byte) (n int, err error) {
	defer c.endWrite()
	for {
		closing := c.extendDeadline()
		m, err := c.Conn.Write(p[n:])
		n += m
		if err == nil || m == 0 || closing || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
}

// extendDeadline gives a write the full timeout again, or the rest of closeLimit when the
// connection is closing.
func (c *deadlineConn) extendDeadline() (closing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = true
	switch {
	case c.closing:
		c.startLimit()
	case c.timeout > 0:
		c.Conn.SetWriteDeadline(time.Now().Add(c.timeout)) // a connection without deadlines has no timeout
	}
	return c.closing
}

// endWrite removes the deadline of a write: once passed, it would stop the writes that do not wait.
func (c *deadlineConn) endWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	if c.timeout > 0 && c.end == nil {
		c.Conn.SetWriteDeadline(time.Time{})
	}
}

func (c *deadlineConn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// SetWriteDeadline serves TLS, which sets a deadline of its own when it closes. It must not reach
// past closeLimit.
func (c *deadlineConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// CloseWrite closes the write direction of a connection that has two.
func (c *deadlineConn) CloseWrite() error {
	if c, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// startClosing gives the write under way and all further ones closeLimit together, from the first
// of them on.
func (c *deadlineConn) startClosing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	if c.writing {
		c.startLimit()
	}
}

// startLimit begins closeLimit, once. At its end the connection is closed, since it may ignore
// deadlines and the broker may not close its end. The caller holds mu.
func (c *deadlineConn) startLimit() {
	if c.end == nil {
		c.Conn.SetWriteDeadline(time.Now().Add(closeLimit))
		c.end = time.AfterFunc(closeLimit, func() { c.Conn.Close() })
	}
}

func (c *deadlineConn) stopClosing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end != nil {
		c.end.Stop()
	}
}
