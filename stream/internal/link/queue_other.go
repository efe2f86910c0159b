//go:build !linux && !darwin

package link

// queuedBytes does not know the send queue on this system.
func queuedBytes(uintptr) (n int, ok bool) { return 0, false }
