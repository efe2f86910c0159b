//go:build !unix || aix

package stream

import "net"

// A socket is where one write can be told not to wait: elsewhere all are the
// writer's.
type socket struct{}

func socketOf(net.Conn) *socket { return nil }

func (*socket) try([]byte) int { return 0 }
