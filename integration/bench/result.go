package main

import "slices"

// A measurement is what a child says of its run, in JSON.
type measurement struct {
	Messages int     // that count: the broker, or the consumer, has had them
	Seconds  float64 // from "go" to the end
	CPU      float64 // seconds of the process in that time, user and system

	Sent int64 // receive: by the broker, what the client dropped or had not taken included

	// Zero for a child that is not written in Go.
	Mallocs    uint64
	AllocBytes uint64

	Syscalls uint64 // reads and writes, of the process; zero where the system does not count them
	Wakeups  uint64 // voluntary context switches of the process

	// Of echo, seconds.
	P50, P99 float64

	// Of idle, for each client.
	Memory     float64 // bytes
	Goroutines float64
}

// A result is what the rounds of one contender in one scenario gave.
type result struct {
	Scenario  string
	Contender string
	Rounds    []measurement
	Failed    string // why a round gave nothing; empty when none has failed
}

// A figure is what the rounds gave of one quantity.
type figure struct{ Median, Min, Max float64 }

// figure returns the figure of what each round gives.
func (r *result) figure(of func(*measurement) float64) figure {
	if len(r.Rounds) == 0 {
		return figure{}
	}
	var values []float64
	for i := range r.Rounds {
		values = append(values, of(&r.Rounds[i]))
	}
	slices.Sort(values)
	n := len(values)
	return figure{Median: (values[(n-1)/2] + values[n/2]) / 2, Min: values[0], Max: values[n-1]}
}

// What the table and the chart show.
func (m *measurement) rate() float64          { return float64(m.Messages) / m.Seconds }
func (m *measurement) cpuPerMillion() float64 { return 1e6 * m.CPU / float64(m.Messages) }
func (m *measurement) allocs() float64        { return float64(m.Mallocs) / float64(m.Messages) }
func (m *measurement) allocBytes() float64    { return float64(m.AllocBytes) / float64(m.Messages) }
func (m *measurement) syscalls() float64      { return float64(m.Syscalls) / float64(m.Messages) }
func (m *measurement) wakeups() float64       { return float64(m.Wakeups) / float64(m.Messages) }
func (m *measurement) sent() float64          { return float64(m.Sent) / float64(m.Messages) }
func (m *measurement) p50() float64           { return m.P50 }
func (m *measurement) p99() float64           { return m.P99 }
func (m *measurement) memory() float64        { return m.Memory }
func (m *measurement) goroutines() float64    { return m.Goroutines }
