//go:build !windows && !plan9

package link

import "syscall"

// resets are the errors of a connection that the other side has reset or closed.
var resets = []error{syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED}
