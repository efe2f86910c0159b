package main

import (
	"sync/atomic"
	"time"
)

// arrivals counts the messages that a client hands to its callback.
type arrivals struct {
	left atomic.Int64   // until all
	all  chan time.Time // receives when the last one was there
}

func newArrivals() *arrivals { return &arrivals{all: make(chan time.Time, 1)} }

// expect returns a channel that receives once: when n more have arrived.
func (a *arrivals) expect(n int) <-chan time.Time {
	a.left.Store(int64(n))
	return a.all
}

// one is what the callback calls for each message.
func (a *arrivals) one() {
	if a.left.Add(-1) == 0 {
		a.all <- time.Now()
	}
}

// concurrently calls do n times, from w goroutines at most, and returns the first
// error when all have ended. It fills the window of a client whose call returns with
// the ack.
func concurrently(w, n int, do func() error) error {
	w = min(w, n)
	var begun atomic.Int64
	ended := make(chan error, w)
	for range w {
		go func() {
			for begun.Add(1) <= int64(n) {
				if err := do(); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
	}
	var first error
	for range w {
		if err := <-ended; err != nil && first == nil {
			first = err
		}
	}
	return first
}
