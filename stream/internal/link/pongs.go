//go:build !js

package link

import (
	"crypto/rand"
	"net"
	"sync/atomic"
	"time"
)

// A pongConn sends unsolicited pongs (RFC 6455, section 5.5.3) while a WebSocket is not read. The
// WebSocket library answers pings only while it reads, and a session does not read while its
// consumers sleep. A server that demands pongs would close the connection. A pongConn lies under
// the library and above TLS. The library writes each frame with one call of Write.
//
// Invariants: a pong is only sent between two reads, after start. While idle is set and ended is
// not, armed is set or about to be set, and the timer calls pong within pongInterval. A short read
// does not postpone the pong, since the pings of the server may lie behind many messages for a slow
// consumer. While a read waits, the timer is off after at most one call of pong, so an idle client
// sleeps.
type pongConn struct {
	net.Conn
	timer *time.Timer // calls pong; nil in the opening handshake
	idle  atomic.Bool // no Read is under way
	armed atomic.Bool // the timer runs, or no pong may be sent any more

	// writing holds a token during a write. The owner of the token owns ended and err. writing is
	// not a mutex, since time in a synctest bubble stops while a goroutine waits for a mutex.
	writing chan struct{}
	ended   bool  // no pong may be sent any more
	err     error // of a pong, which may be written in part; every Write returns it
}

// pongInterval is the time between two pongs. Servers usually wait for a pong for 10 to 60 s.
const pongInterval = 5 * time.Second

func newPongConn(conn net.Conn) *pongConn {
	return &pongConn{Conn: conn, writing: make(chan struct{}, 1)}
}

// start begins to send pongs. It is called after the opening handshake, before the first Read.
func (c *pongConn) start() {
	c.lock()
	defer c.unlock()
	c.idle.Store(true)
	c.armed.Store(true)
	c.timer = time.AfterFunc(pongInterval, c.pong)
}

func (c *pongConn) Read(p []byte) (int, error) {
	c.idle.Store(false)
	n, err := c.Conn.Read(p)
	if c.timer != nil && err == nil {
		c.idle.Store(true)
		c.arm()
	}
	return n, err
}

func (c *pongConn) arm() {
	if c.armed.CompareAndSwap(false, true) {
		c.timer.Reset(pongInterval)
	}
}

func (c *pongConn) lock()   { c.writing <- struct{}{} }
func (c *pongConn) unlock() { <-c.writing }

// Write writes a frame, or a part of the opening handshake.
func (c *pongConn) Write(p []byte) (int, error) {
	c.lock()
	defer c.unlock()
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Write(p)
	if c.timer != nil && (err != nil || isCloseFrame(p) || !isFrame(p)) {
		c.ended = true
	}
	return n, err
}

// pong sends a pong, unless a pong could lie inside another frame or follow the close frame. The
// timer calls it in a goroutine of its own, which may have to wait for a Write under way.
func (c *pongConn) pong() {
	c.lock()
	defer c.unlock()
	if c.ended {
		return
	}
	c.armed.Store(false) // from here, the end of a Read sets the timer
	if !c.idle.Load() {
		return
	}
	frame := [6]byte{1<<7 | pongOpcode, 1 << 7} // final, masked, without payload
	rand.Read(frame[2:])                        // the mask
	if _, c.err = c.Conn.Write(frame[:]); c.err != nil {
		c.ended = true
		return
	}
	c.arm()
}

// Close stops the timer and closes the connection.
func (c *pongConn) Close() error {
	if c.timer != nil {
		c.armed.Store(true)
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
