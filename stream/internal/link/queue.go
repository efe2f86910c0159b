package link

import (
	"net"
	"syscall"
)

// Sent returns the number of bytes handed to the network connection since it began, including the
// bytes of TLS and WebSocket. Part of a write that is under way may not be counted yet.
func (c *Conn) Sent() uint64 { return c.raw.sent.Load() }

// Left returns how many of the Sent bytes have left the send queue of the operating system. Without
// access to the queue it returns Sent. While the queue takes bytes of a write under way, the number
// may be too low, but it changes whenever the queue moves.
func (c *Conn) Left() uint64 {
	sent := c.raw.sent.Load()
	return sent - uint64(sendQueue(c.raw.Conn))
}

// sendQueue returns how many bytes are in the send queue of a connection of package net. It returns
// 0 for any other connection, and on a system that does not tell. The error of a broken connection
// is left to the next write.
func sendQueue(c net.Conn) (n int) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) {
		if q, ok := queuedBytes(fd); ok {
			n = q
		}
	})
	return n
}
