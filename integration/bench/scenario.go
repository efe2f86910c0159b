package main

import (
	"encoding/json"
	"fmt"
	"time"
)

// A scenario is what one run does; the child process gets it as JSON.
type scenario struct {
	Name     string // in the table
	Kind     kind
	QoS      byte
	Payload  int    // bytes
	Window   int    // unacknowledged at once
	Messages int    // of all clients together
	Clients  int    // in one process
	Filters  int    // subscribed by each
	Hold     int    // publish: how many the broker has before it acknowledges the first
	Through  string // the broker: empty for the null broker, or mosquitto
	URL      string // "tcp://127.0.0.1:port" of the broker
	Dir      string // durable: an empty folder for the stores of this run
}

// A kind is which method of the sessions a scenario calls.
type kind byte

const (
	publish kind = iota // Publish
	receive             // Receive
	echo                // Echo
	idle                // Publish of one QoS 1 message, then nothing but pings
	durable             // Publish, with a store on disk for what has no ack yet
)

var kinds = [...]string{publish: "publish", receive: "receive", echo: "echo", idle: "idle", durable: "durable"}

func (k kind) String() string { return kinds[k] }

// MarshalText and UnmarshalText keep the numbers of kinds out of the JSON.
func (k kind) MarshalText() ([]byte, error) { return []byte(kinds[k]), nil }

func (k *kind) UnmarshalText(text []byte) error {
	for i, name := range kinds {
		if name == string(text) {
			*k = kind(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no kind of scenario", text)
}

// topic is that of all messages.
const topic = "bench/topic"

// filters returns what each client subscribes, in one SUBSCRIBE; no message
// matches any but the first.
func (s *scenario) filters() []string {
	list := []string{topic}
	for i := 1; i < s.Filters; i++ {
		list = append(list, fmt.Sprintf("bench/other/%d", i))
	}
	return list
}

// keepAlive is what clients are to announce: short where pings are what a client
// does, otherwise too long to play a part.
func (s *scenario) keepAlive() time.Duration {
	if s.Kind == idle {
		return 3 * time.Second
	}
	return time.Minute
}

// share returns how many of the messages are those of client i.
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
