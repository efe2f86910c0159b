//go:build unix && !aix

package link

import (
	"net"
	"syscall"
)

// A socket writes to a connection of package net without waiting: it writes as much as the
// operating system accepts at once.
type socket struct {
	raw   syscall.RawConn
	write func(fd uintptr) bool // the method value once; each one allocates

	bytes []byte
	n     int
}

// socketOf returns nil for a connection that is not a socket of package net: the Write method of a
// wrapper must not be bypassed.
func socketOf(c net.Conn) *socket {
	var raw syscall.RawConn
	var err error
	switch c := c.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	}
	if raw == nil || err != nil {
		return nil
	}
	s := &socket{raw: raw}
	s.write = s.once
	return s
}

// try returns how much of p was written. The next blocking write reports the error that stopped it,
// if there was one.
func (s *socket) try(p []byte) int {
	s.bytes, s.n = p, 0
	err := s.raw.Write(s.write)
	s.bytes = nil
	if err != nil {
		return 0 // closed, or past a deadline: nothing was tried
	}
	return s.n
}

func (s *socket) once(fd uintptr) bool {
	// MSG_DONTWAIT: this must not wait even if the user has made the socket blocking.
	if n, err := syscall.SendmsgN(int(fd), s.bytes, nil, nil, syscall.MSG_DONTWAIT); err == nil {
		s.n = n
	}
	return true
}
