//go:build !unix

package main

import "net"

// A poller waits at each read, because this system has no portable way to poll.
type poller struct{ conn net.Conn }

func newPoller(conn net.Conn) (*poller, error) { return &poller{conn}, nil }

func (p *poller) read(b []byte) (int, error) { return p.conn.Read(b) }
