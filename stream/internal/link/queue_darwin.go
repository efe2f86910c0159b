package link

import "syscall"

// soNwrite is SO_NWRITE of sys/socket.h.
const soNwrite = 0x1024

// queuedBytes returns how many bytes of a socket's send queue the peer has not acknowledged.
func queuedBytes(fd uintptr) (n int, ok bool) {
	n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, soNwrite)
	return n, err == nil
}
