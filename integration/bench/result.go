package main

// A measurement is the result of one run, which the child writes as JSON.
type measurement struct {
	Messages int     // number counted by the broker or the consumer
	Seconds  float64 // from "go" to the end
	CPU      float64 // CPU seconds of the process, user and system, in that time

	Sent int64 // receive: messages sent by the broker, even if dropped or not yet read

	// Zero if the child is not a Go program.
	Mallocs    uint64
	AllocBytes uint64

	Syscalls uint64 // reads and writes of the process; zero if the system does not count them
	Wakeups  uint64 // voluntary context switches of the process

	// Round trips in seconds, for echo only.
	P50, P99 float64

	// Cost of each client, for idle only.
	Memory     float64 // bytes
	Goroutines float64
}

// A result holds the rounds of one contender in one scenario.
type result struct {
	Scenario  string
	Contender string
	Rounds    []measurement
	Failed    string // the error of the failed round; empty if none has failed
}

// These functions return the quantities that the tables and the chart show.
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
