package main

import "time"

// usage holds the counters that the system keeps for a process.
type usage struct {
	cpu      time.Duration // user and system time
	switches int64         // voluntary context switches, when a thread had no work and slept
	syscalls uint64        // read and write calls
}
