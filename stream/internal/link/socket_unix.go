//go:build unix && !aix

package link

import (
	"net"
	"syscall"
)

// A socket writes to a connection of package net without waiting. It writes as many bytes as the
// operating system accepts at once.
type socket struct {
	raw   syscall.RawConn
	write func(fd uintptr) bool // the method value s.once, stored because each method value allocates

	bytes []byte
	n     int
}

// open makes s the socket of a connection of package net. It does nothing for any other connection,
// since the Write method of a wrapper must not be bypassed.
func (s *socket) open(c net.Conn) {
	var raw syscall.RawConn
	var err error
	switch c := c.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	}
	if raw != nil && err == nil {
		s.raw, s.write = raw, s.once
	}
}

func (s *socket) isOpen() bool { return s.raw != nil }

// try writes the beginning of p and returns the number of bytes written. If an error stops the
// write, the next blocking write reports that error.
func (s *socket) try(p []byte) int {
	s.bytes, s.n = p, 0
	err := s.raw.Write(s.write)
	s.bytes = nil
	if err != nil {
		return 0 // the socket is closed or its deadline has passed, so nothing was written
	}
	return s.n
}

func (s *socket) once(fd uintptr) bool {
	// MSG_DONTWAIT keeps the call from waiting even if the user has made the socket blocking.
	if n, err := syscall.SendmsgN(int(fd), s.bytes, nil, nil, syscall.MSG_DONTWAIT); err == nil {
		s.n = n
	}
	return true
}
