//go:build unix

package main

import (
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
)

// polls is how many times a poller tries to read before it waits: a tenth of a millisecond, about
// the time that the broker takes for a full window. Without a second processor the broker could not
// run in that time.
var polls = func() int {
	if runtime.NumCPU() < 2 {
		return 1
	}
	return 200
}()

// A poller reads from a connection without waiting, as long as data comes soon.
type poller struct {
	conn syscall.RawConn
	call func(fd uintptr) bool // try; made once, because a method value needs memory

	// The result of the last try, and where its data goes.
	into []byte
	n    int
	err  error
}

func newPoller(conn net.Conn) (*poller, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("the connection has no file descriptor")
	}
	raw, err := c.SyscallConn()
	p := &poller{conn: raw}
	p.call = p.try
	return p, err
}

// read reads once. At the end of the connection it returns io.EOF.
func (p *poller) read(b []byte) (int, error) {
	p.into = b
	if err := p.conn.Read(p.call); err != nil {
		return 0, err
	}
	if p.err == nil && p.n == 0 {
		return 0, io.EOF
	}
	return max(p.n, 0), p.err
}

// try reports whether a read has ended. If not, the connection waits for data and calls try again.
func (p *poller) try(fd uintptr) bool {
	for range polls {
		p.n, p.err = syscall.Read(int(fd), p.into)
		if p.err != syscall.EAGAIN && p.err != syscall.EINTR {
			return true
		}
	}
	return false
}
