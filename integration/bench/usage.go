package main

import "time"

// usage is what the system counts of a process.
type usage struct {
	cpu      time.Duration // user and system
	switches int64         // voluntary: a thread had nothing to do and slept
	syscalls uint64        // read and write calls
}
