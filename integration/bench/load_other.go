//go:build !unix

package main

// A load has no data on this system.
type load struct{}

func newLoad() load { return load{} }

func (load) others() (part float64, ok bool) { return 0, false }
