//go:build !js

package link

import (
	"crypto/rand"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A pongConn sends unsolicited pongs (RFC 6455, section 5.5.3) while nobody reads from a WebSocket.
// The WebSocket library answers pings only while it reads, and a session does not read while its
// consumers sleep. A server that demands pongs would close the connection. A pongConn lies under
// the library, which writes each frame with one call of Write.
//
// Invariant: a pong is only sent between two reads, after start.
type pongConn struct {
	net.Conn
	idle atomic.Bool // no Read is under way

	mu    sync.Mutex // guards the writes
	timer *time.Timer
	ended bool // no pong may be sent any more
}

// pongInterval is the time between two pongs. Servers wait longer for a pong, mostly 20 to 60 s.
const pongInterval = 10 * time.Second

// start begins to send pongs. It is called after the opening handshake.
func (c *pongConn) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(pongInterval, c.pong)
	c.idle.Store(true)
}

func (c *pongConn) Read(p []byte) (int, error) {
	if c.timer == nil { // in the opening handshake
		return c.Conn.Read(p)
	}
	c.idle.Store(false)
	c.timer.Stop()
	n, err := c.Conn.Read(p)
	if err == nil {
		c.idle.Store(true)
		c.timer.Reset(pongInterval)
	}
	return n, err
}

// Write writes a frame, or a part of the opening handshake.
func (c *pongConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil && (isCloseFrame(p) || !isFrame(p)) {
		c.ended = true
	}
	return c.Conn.Write(p)
}

// pong sends a pong, unless a pong could lie inside another frame or follow the close frame.
func (c *pongConn) pong() {
	frame := [6]byte{1<<7 | pongOpcode, 1 << 7} // final, masked, without payload
	rand.Read(frame[2:])                        // the mask
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || !c.idle.Load() {
		return
	}
	if _, err := c.Conn.Write(frame[:]); err == nil {
		c.timer.Reset(pongInterval) // if a Read has begun meanwhile, the next call of pong does nothing
	}
}

// Close stops the timer and closes the connection.
func (c *pongConn) Close() error {
	if c.timer != nil {
		c.timer.Stop()
	}
	return c.Conn.Close()
}

const (
	closeOpcode = 0x8
	pongOpcode  = 0xa
)

func isCloseFrame(p []byte) bool { return len(p) > 0 && p[0]&0xf == closeOpcode }

// isFrame reports whether p is one whole masked frame.
func isFrame(p []byte) bool {
	if len(p) < 2 {
		return false
	}
	const mask = 4
	switch n := int(p[1] & 0x7f); n {
	case 126:
		return len(p) >= 4 && len(p) == 4+mask+int(p[2])<<8+int(p[3])
	case 127:
		return false // no frame of ours is that long
	default:
		return len(p) == 2+mask+n
	}
}
