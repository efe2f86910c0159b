//go:build unix && !aix

package stream

import (
	"net"
	"syscall"
)

// A socket is the connection itself, for writes that take what the operating
// system takes at once and never wait.
type socket struct {
	raw   syscall.RawConn
	write func(fd uintptr) bool // made once: a method value allocates

	bytes []byte
	n     int
}

// socketOf returns nil for what is not a socket of package net: a wrapper has a
// Write of its own that must not be passed by.
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

// try returns how much of p was written. What stopped it, the next blocking
// write will find out.
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
	// Whatever the user has made of the socket's own flag, this does not wait.
	if n, err := syscall.SendmsgN(int(fd), s.bytes, nil, nil, syscall.MSG_DONTWAIT); err == nil {
		s.n = n
	}
	return true
}
