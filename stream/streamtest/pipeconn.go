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
// are buffered, a deadline also ends calls that already wait, and bytes written before Close can
// still be read at the other end. A PipeConn starts no goroutine and allocates no buffer before the
// first write. It works inside and outside a synctest bubble.
//
// When the other end has closed, every write fails at once with EPIPE. TCP would accept the first
// few writes.
type PipeConn struct {
	in, out       *half
	local, remote net.Addr
	answered      bool // a CloseWrite at this end closes the writing direction of the other end too
}

// Pipe returns the two ends of a connection. The parameter buffer limits the unread bytes of each
// direction. Zero means [DefaultBuffer]; a negative number means no limit, so that writes never
// wait.
func Pipe(buffer int) (*PipeConn, *PipeConn) {
	limit := limitOf(buffer)
	return pipe(limit, limit, Addr{"pipe", "a"}, Addr{"pipe", "b"})
}

// limitOf converts an option to the limit of a half. In the option, 0 is the default and a negative
// number is no limit. In the half, 0 is no limit.
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

// Read waits for bytes from the other end and returns at least one. After the other end has closed
// it returns the remaining bytes and then io.EOF.
func (c *PipeConn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write returns when all of p is in the buffer. The bytes of concurrent calls do not mix.
func (c *PipeConn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// wrap wraps an error in a net.OpError, as package net does. It returns io.EOF unchanged.
func (c *PipeConn) wrap(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: c.remote.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// Close ends both directions. The other end reads the buffered bytes and then io.EOF, and its
// writes fail. Close is idempotent and returns nil.
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

// RemoteAddr returns the address of the other end. At the client of a Broker, that is the address
// that the client dialed.
func (c *PipeConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines. The zero time means none.
func (c *PipeConn) SetDeadline(t time.Time) error {
	c.in.readBy.set(t)
	c.out.writeBy.set(t)
	return nil
}

// SetReadDeadline sets the time at which Read calls fail with os.ErrDeadlineExceeded. It also
// applies to calls that already wait.
func (c *PipeConn) SetReadDeadline(t time.Time) error {
	c.in.readBy.set(t)
	return nil
}

// SetWriteDeadline sets the time at which Write calls fail with os.ErrDeadlineExceeded. It also
// applies to calls that already wait.
func (c *PipeConn) SetWriteDeadline(t time.Time) error {
	c.out.writeBy.set(t)
	return nil
}

// Stall makes writes at the other end wait at once, as if this end's read buffer were full. Bytes
// written before Stall can still be read.
func (c *PipeConn) Stall() { c.in.stall(true) }

// Resume ends a Stall.
func (c *PipeConn) Resume() { c.in.stall(false) }

// SetRate limits the rate at which bytes written to this end from now on reach the other end, in
// bytes per second. Zero means no limit. A segment of up to 1,460 bytes arrives when its last byte
// has passed; each Write begins a new segment. Bytes on their way count as unread.
func (c *PipeConn) SetRate(rate int) { c.out.slow(rate) }

// Cut ends a segment. No Read at the other end returns bytes from both sides of a cut.
func (c *PipeConn) Cut() { c.out.cut() }

// Reads returns the number of Read calls on this end.
func (c *PipeConn) Reads() int {
	n, _, _ := c.in.counts()
	return n
}

// Writes returns the number of Write calls on this end. A net.Buffers counts one call for each of
// its slices, since only sockets write all slices in one call.
func (c *PipeConn) Writes() int {
	_, n, _ := c.out.counts()
	return n
}

// Bytes returns the number of bytes written to this end. It includes bytes that the other end has
// not read.
func (c *PipeConn) Bytes() int64 {
	_, _, n := c.out.counts()
	return n
}

// Unread returns the number of bytes written to this end that the other end has not read.
func (c *PipeConn) Unread() int { return c.out.unread() }

// Addr is the address of one end of a connection, as given to Dial.
type Addr struct{ Net, Address string }

// Network returns the name of the network.
func (a Addr) Network() string { return a.Net }

// String returns the address.
func (a Addr) String() string { return a.Address }
