package link

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A deadlineConn bounds how long a write may make no progress, and how long the end of a connection
// may take, and counts the bytes written. It lies under TLS, since a write through TLS cannot be
// continued after a timeout.
type deadlineConn struct {
	net.Conn
	timeout time.Duration // of a write without progress; 0 is unlimited
	pace    time.Duration // how old the count may become during a write; 0 is unlimited
	sent    atomic.Uint64 // bytes written

	mu      sync.Mutex
	packets bool        // MQTT packets are being written, and not only a pong or a message of TLS
	closing bool        // closeLimit bounds all further packets together
	end     *time.Timer // closes the connection after closeLimit; nil until closeLimit begins
}

// closeLimit bounds the last writes of a connection and the wait for the broker to close its side.
const closeLimit = time.Second

func (c *deadlineConn) Write(p []byte) (n int, err error) {
	defer c.endWrite()
	moved := time.Now()
	for {
		closing := c.extendDeadline(moved)
		m, err := c.Conn.Write(p[n:])
		n += m
		c.sent.Add(uint64(m))
		if err == nil || closing || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		switch now := time.Now(); {
		case m > 0:
			moved = now
		case c.timeout > 0 && now.Sub(moved) >= c.timeout:
			return n, err
		}
	}
}

// writePackets marks the beginning and the end of a write of MQTT packets. When the connection is
// closing, it starts closeLimit.
func (c *deadlineConn) writePackets(writing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packets = writing
	if writing && c.closing {
		c.startLimit()
	}
}

// extendDeadline sets the write deadline: a write that moved last at the given time has the full
// timeout from then. After closeLimit has begun, the deadline stays.
func (c *deadlineConn) extendDeadline(moved time.Time) (closing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	closing = c.end != nil
	if !closing && c.limited() {
		c.Conn.SetWriteDeadline(c.deadline(moved)) // without support for deadlines, there is no timeout
	}
	return closing
}

// limited reports whether writes have a deadline.
func (c *deadlineConn) limited() bool { return c.timeout > 0 || c.pace > 0 }

// deadline returns the deadline of a write that moved last at the given time.
func (c *deadlineConn) deadline(moved time.Time) time.Time {
	end := moved.Add(c.timeout)
	if next := time.Now().Add(c.pace); c.pace > 0 && (c.timeout == 0 || next.Before(end)) {
		return next
	}
	return end
}

// endWrite removes the deadline of a write, since a deadline in the past would make TryWrite fail.
func (c *deadlineConn) endWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limited() && c.end == nil {
		c.Conn.SetWriteDeadline(time.Time{})
	}
}

func (c *deadlineConn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// SetWriteDeadline is called by TLS, which sets its own deadline when it closes. While the
// connection is closing, that deadline is ignored, so that it cannot extend closeLimit.
func (c *deadlineConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// CloseWrite closes the write direction, if the connection can close its directions separately.
func (c *deadlineConn) CloseWrite() error {
	if c, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// startClosing limits the packets being written and all further packets to closeLimit in total. The
// time begins at once if packets are being written, otherwise with the next ones. A pong, which a
// WebSocket sends also while a slow commit holds up the last packets, does not begin it. Another
// call starts the limit again.
func (c *deadlineConn) startClosing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	if c.end != nil {
		c.end.Stop()
		c.end = nil
		c.Conn.SetWriteDeadline(time.Time{})
	}
	if c.packets {
		c.startLimit()
	}
}

// startLimit begins closeLimit, once. After closeLimit the connection is closed, since it may
// ignore deadlines and the broker may not close its side. The caller holds mu.
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
