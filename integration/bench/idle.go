package main

import (
	"runtime"
	"time"
)

// idle measures the memory and goroutines of a client that published one message and then only sent
// two pings.
func (c *child) idle(before uint64) error {
	s := &c.Scenario
	if err := c.begin(); err != nil {
		return err
	}
	if err := inParallel(s.Clients, 32, func(i int) error { return c.sessions[i].Publish(1) }); err != nil {
		return err
	}
	if err := c.expect("done"); err != nil {
		return err
	}
	time.Sleep(2*s.keepAlive() + time.Second)
	c.result.Memory = float64(memoryInUse()-before) / float64(s.Clients)
	c.result.Goroutines = float64(runtime.NumGoroutine()-1) / float64(s.Clients)
	return c.meter.stop(&c.result)
}
