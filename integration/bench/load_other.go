//go:build !unix

package main

// A load is empty, because this system does not report the CPU times of other processes.
type load struct{}

func newLoad() load { return load{} }

func (load) others() (part float64, ok bool) { return 0, false }
