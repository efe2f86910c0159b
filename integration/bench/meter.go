package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A meter measures this process from start to stop.
type meter struct {
	files  []*os.File
	begun  time.Time
	usage  usage
	memory runtime.MemStats
}

// usage is what the system counts of a process.
type usage struct {
	cpu      time.Duration // user and system
	switches int64         // voluntary: a thread had nothing to do and slept
	syscalls uint64        // read and write calls
}

// prepare does what takes time and is not of the run.
func (m *meter) prepare(a *assignment) error {
	if a.Profile != "" {
		f, err := os.Create(a.Profile)
		if err != nil {
			return err
		}
		m.files = append(m.files, f)
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
	}
	if a.Trace != "" {
		f, err := os.Create(a.Trace)
		if err != nil {
			return err
		}
		m.files = append(m.files, f)
		if err := trace.Start(f); err != nil {
			return err
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&m.memory)
	return nil
}

func (m *meter) start() {
	m.usage = used()
	m.begun = time.Now()
}

func (m *meter) stop(result *measurement) error {
	took, now := time.Since(m.begun), used()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	result.Seconds = took.Seconds()
	result.CPU = (now.cpu - m.usage.cpu).Seconds()
	result.Wakeups = uint64(now.switches - m.usage.switches)
	result.Syscalls = now.syscalls - m.usage.syscalls
	result.Mallocs = memory.Mallocs - m.memory.Mallocs
	result.AllocBytes = memory.TotalAlloc - m.memory.TotalAlloc
	pprof.StopCPUProfile()
	trace.Stop()
	var err error
	for _, f := range m.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

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

// memoryInUse is what the heap and the stacks have, without what waits to be
// collected.
func memoryInUse() uint64 {
	least := ^uint64(0)
	for range 3 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, m.HeapAlloc+m.StackInuse)
	}
	return least
}

// quantile returns the value below which the given part of all lies. It sorts them.
func quantile(all []time.Duration, part float64) time.Duration {
	slices.Sort(all)
	return all[min(int(float64(len(all))*part), len(all)-1)]
}
