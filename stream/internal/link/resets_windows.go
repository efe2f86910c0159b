package link

import "syscall"

// resets are the errors of a connection that the other side has reset or closed.
var resets = []error{syscall.WSAECONNRESET, syscall.Errno(10053)} // WSAECONNABORTED
