//go:build unix

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// used returns what this process has used. Wake-ups are the voluntary context
// switches of getrusage rather than the scheduler's latencies of runtime/metrics:
// those sample one in eight, count goroutines that needed no thread to wake, and say
// nothing of clients that are not written in Go. System calls are those that Linux
// counts in /proc/self/io, reads that found nothing included: no wrapper around a
// connection stands in the way, and it is the same for every client.
func used() usage {
	var u usage
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err == nil {
		u.cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano())
		u.switches = int64(r.Nvcsw)
	}
	if text, err := os.ReadFile("/proc/self/io"); err == nil {
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			if name == "syscr" || name == "syscw" {
				var n uint64
				if _, err := fmt.Sscan(value, &n); err == nil {
					u.syscalls += n
				}
			}
		}
	}
	return u
}
