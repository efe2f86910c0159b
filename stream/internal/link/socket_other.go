//go:build !unix || aix

package link

import "net"

// A socket writes nothing on this system, where no write can be told not to wait.
type socket struct{}

func socketOf(net.Conn) *socket { return nil }

func (*socket) try([]byte) int { return 0 }
