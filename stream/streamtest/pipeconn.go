package streamtest

import (
	"errors"
	"io"
	"net"
	"time"
)

// DefaultBuffer is the default number of bytes that a client may write before the broker reads.
const DefaultBuffer = 64 << 10

// PipeConn is one end of an in-memory connection. It is a [net.Conn] that behaves like TCP: writes
// are buffered, deadlines end calls that already wait, and after Close the other end can still read
// the bytes written before. It starts no goroutine, allocates nothing until it is written to, and
// may be used inside a synctest bubble or outside.
//
// A write to a connection that the other end has closed fails at once with EPIPE, where TCP would
// accept the first few.
type PipeConn struct {
	in, out       *half
	local, remote net.Addr
	answered      bool // the other end closes its writing direction when this one does
}

// Pipe connects two ends. Each direction holds up to buffer bytes, 0 meaning [DefaultBuffer]; a
// negative buffer sets no limit, so that writes never wait.
func Pipe(buffer int) (*PipeConn, *PipeConn) {
	limit := limitOf(buffer)
	return pipe(limit, limit, Addr{"pipe", "a"}, Addr{"pipe", "b"})
}

// limitOf maps an option (0: the default, negative: off) to the limit of a half (0: none).
func limitOf(buffer int) int {
	switch {
	case buffer < 0:
		return 0
	case buffer == 0:
		return DefaultBuffer
	}
	return buffer
}

func pipe(limitAB, limitBA int, addrA, addrB net.Addr) (*PipeConn, *PipeConn) {
	ab, ba := newHalf(limitAB), newHalf(limitBA)
	return &PipeConn{in: ba, out: ab, local: addrA, remote: addrB},
		&PipeConn{in: ab, out: ba, local: addrB, remote: addrA}
}

// Read returns at least one byte from the other end and waits for it if necessary. After the other
// end has closed it returns the remaining bytes and then io.EOF.
func (c *PipeConn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write returns when all of p is in the buffer. The bytes of concurrent calls do not mix.
func (c *PipeConn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// wrap wraps an error as package net does. io.EOF stays bare.
func (c *PipeConn) wrap(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: c.remote.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// Close ends both directions: the other end reads the buffered bytes and then io.EOF, and can write
// no more. It is idempotent and returns nil.
func (c *PipeConn) Close() error {
	c.out.closeWriter()
	c.in.closeReader()
	return nil
}

// CloseWrite ends the writing direction only. [KeepOpen] describes how a Broker reacts.
func (c *PipeConn) CloseWrite() error {
	c.out.closeWriter()
	if c.answered {
		c.in.closeWriter()
	}
	return nil
}

// Abort resets the connection: buffered bytes are lost, and the other end gets ECONNRESET from
// reads and writes.
func (c *PipeConn) Abort() {
	c.out.abort()
	c.in.abort()
	_ = c.Close()
}

// LocalAddr returns the address of this end.
func (c *PipeConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the other end; for a client of a Broker it is the dialed
// address.
func (c *PipeConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines. The zero time means none.
func (c *PipeConn) SetDeadline(t time.Time) error {
	c.in.readBy.set(t)
	c.out.writeBy.set(t)
	return nil
}

// SetReadDeadline ends Read calls at t with os.ErrDeadlineExceeded, including calls that already
// wait.
func (c *PipeConn) SetReadDeadline(t time.Time) error {
	c.in.readBy.set(t)
	return nil
}

// SetWriteDeadline ends Write calls at t with os.ErrDeadlineExceeded, including calls that already
// wait.
func (c *PipeConn) SetWriteDeadline(t time.Time) error {
	c.out.writeBy.set(t)
	return nil
}

// Stall removes the room in this end's read buffer: writes at the other end wait at once, as if
// this end had not read for long. Bytes written before can still be read.
func (c *PipeConn) Stall() { c.in.stall(true) }

// Resume ends a Stall.
func (c *PipeConn) Resume() { c.in.stall(false) }

// Cut ends a segment: no Read at the other end returns bytes written before and after it.
func (c *PipeConn) Cut() { c.out.cut() }

// Reads returns the number of Read calls on this end.
func (c *PipeConn) Reads() int {
	n, _, _ := c.in.counts()
	return n
}

// Writes returns the number of Write calls on this end. net.Buffers makes one call for each of its
// slices, since only sockets accept them together.
func (c *PipeConn) Writes() int {
	_, n, _ := c.out.counts()
	return n
}

// Bytes returns the number of bytes written to this end, read or not by the other end.
func (c *PipeConn) Bytes() int64 {
	_, _, n := c.out.counts()
	return n
}

// Unread returns the number of bytes written to this end that the other end has not read.
func (c *PipeConn) Unread() int { return c.out.unread() }

// Addr is the address of an end: the network and address given to Dial.
type Addr struct{ Net, Address string }

// Network returns the name of the network.
func (a Addr) Network() string { return a.Net }

// String returns the address.
func (a Addr) String() string { return a.Address }
