//go:build unix

package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
)

// A load holds the CPU times of the machine and of this program at one moment. On a machine with
// other load the figures mean little, so the program reports the other load.
type load struct {
	at        time.Time
	idle, own float64 // CPU seconds: idle, and of this process and its children
}

func newLoad() load { return load{at: time.Now(), idle: idleSeconds(), own: ownSeconds()} }

// others returns the share of the CPUs that other processes have used since l. If the system does
// not report it, ok is false.
func (l load) others() (part float64, ok bool) {
	now := newLoad()
	all := now.at.Sub(l.at).Seconds() * float64(runtime.NumCPU())
	if now.idle == 0 || all == 0 {
		return 0, false
	}
	return max(0, 1-(now.idle-l.idle+now.own-l.own)/all), true
}

// idleSeconds returns the idle time from /proc/stat of Linux, which counts hundredths of a second.
func idleSeconds() float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	var user, nice, system, idle, wait float64
	if _, err := fmt.Sscanf(string(text), "cpu %g %g %g %g %g", &user, &nice, &system, &idle, &wait); err != nil {
		return 0
	}
	return (idle + wait) / 100
}

func ownSeconds() float64 {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if err := syscall.Getrusage(who, &r); err == nil {
			sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	return sum.Seconds()
}
