package main

import (
	"errors"
	"os"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"time"
)

// A meter measures this process between the calls of start and stop.
type meter struct {
	files  []*os.File
	begun  time.Time
	usage  usage
	memory runtime.MemStats
	unseen func() uint64 // system calls that used may not count
}

// prepare does the slow work that must not be part of the measurement.
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
	m.usage.syscalls += m.unseen()
	m.begun = time.Now()
}

func (m *meter) stop(result *measurement) error {
	took, now := time.Since(m.begun), used()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	result.Seconds = took.Seconds()
	result.CPU = (now.cpu - m.usage.cpu).Seconds()
	result.Wakeups = uint64(now.switches - m.usage.switches)
	result.Syscalls = now.syscalls + m.unseen() - m.usage.syscalls
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

// memoryInUse returns the size of heap and stacks after garbage collection.
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

// quantile returns the value below which the given part of the values in all lies. It sorts all.
func quantile(all []time.Duration, part float64) time.Duration {
	slices.Sort(all)
	return all[min(int(float64(len(all))*part), len(all)-1)]
}
