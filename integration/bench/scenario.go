package main

import (
	"encoding/json"
	"fmt"
	"time"
)

// A scenario describes one run; the child process gets it as JSON.
type scenario struct {
	Name     string // title in the table
	Kind     kind
	QoS      byte
	Payload  int    // size in bytes
	Window   int    // maximum number of unacknowledged messages
	Messages int    // number of messages of all clients together
	Clients  int    // number of clients in the process
	Filters  int    // number of filters of each client
	Hold     int    // publish: number of messages that the broker leaves unacknowledged
	Through  string // name of the broker: "mosquitto", or empty for the null broker
	URL      string // "tcp://127.0.0.1:port" of the broker
	Dir      string // durable: an empty folder for the stores of the run
}

// A kind names the session method that a scenario calls.
type kind byte

const (
	publish kind = iota // Publish
	receive             // Receive
	echo                // Echo
	idle                // Publish of one QoS 1 message, then only pings
	durable             // Publish, with a store on disk for unacknowledged messages
)

var kinds = [...]string{publish: "publish", receive: "receive", echo: "echo", idle: "idle", durable: "durable"}

func (k kind) String() string { return kinds[k] }

// MarshalText encodes the name of the kind, so that JSON does not depend on the numbers.
func (k kind) MarshalText() ([]byte, error) { return []byte(kinds[k]), nil }

// UnmarshalText is the inverse of MarshalText.
func (k *kind) UnmarshalText(text []byte) error {
	for i, name := range kinds {
		if name == string(text) {
			*k = kind(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a kind of scenario", text)
}

// topic is the topic of all messages.
const topic = "bench/topic"

// filters returns the filters that each client subscribes to in one SUBSCRIBE. Messages match only
// the first filter.
func (s *scenario) filters() []string {
	list := []string{topic}
	for i := 1; i < s.Filters; i++ {
		list = append(list, fmt.Sprintf("bench/other/%d", i))
	}
	return list
}

// keepAlive returns the keep-alive interval. It is short for idle clients, whose pings are
// measured, and longer than a run for all others.
func (s *scenario) keepAlive() time.Duration {
	if s.Kind == idle {
		return 3 * time.Second
	}
	return time.Minute
}

// share returns the number of messages of client i.
func (s *scenario) share(i int) int {
	n := s.Messages / s.Clients
	if i < s.Messages%s.Clients {
		n++
	}
	return n
}

// body returns the payload of each message.
func (s *scenario) body() []byte { return make([]byte, s.Payload) }

func (s *scenario) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
