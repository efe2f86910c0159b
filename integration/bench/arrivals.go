package main

import (
	"sync/atomic"
	"time"
)

// arrivals counts the messages that a client passes to its callback.
type arrivals struct {
	left atomic.Int64   // messages still missing
	all  chan time.Time // receives the time of the last message
}

func newArrivals() *arrivals { return &arrivals{all: make(chan time.Time, 1)} }

// expect returns a channel that gets one value, when n more messages have arrived.
func (a *arrivals) expect(n int) <-chan time.Time {
	a.left.Store(int64(n))
	return a.all
}

// one counts a message. The callback of the client calls it.
func (a *arrivals) one() {
	if a.left.Add(-1) == 0 {
		a.all <- time.Now()
	}
}

// concurrently calls do n times, from at most w goroutines. When all goroutines have ended, it
// returns the first error. It fills the window of a client whose publish call waits for the ack.
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
