package link

import (
	"syscall"
	"unsafe"
)

// queuedBytes returns how many bytes of a socket's send queue the peer has not acknowledged
// (SIOCOUTQ, which has the number of TIOCOUTQ).
func queuedBytes(fd uintptr) (n int, ok bool) {
	var queued int32
	_, _, failed := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&queued)))
	return int(queued), failed == 0
}
