package main

import (
	"errors"
	"time"
)

// A contender is one way to use one client library.
type contender struct {
	name    string
	connect func(s *scenario, id string) (session, error) // one connected client

	// command, if set, returns the program that runs as the child instead of this one, and its
	// arguments. An error at the first call is the reason to skip the contender.
	command func(s *scenario) ([]string, error)

	end func() error // if set, removes the files that command has made
}

// A session is one connected client. A method that a contender does not support returns
// errUnsupported before it does anything.
type session interface {
	// Publish sends n messages of s.body() to topic with s.Window of them in flight, and returns
	// when all are complete: at QoS 0 as far as the library reports it, at QoS 1 and 2 when the
	// exchange has ended.
	Publish(n int) error

	// Receive subscribes to s.filters() at s.QoS and calls subscribed when the broker has granted
	// them. subscribed returns when messages begin to arrive. Receive returns when the consumer has
	// received n messages.
	Receive(n int, subscribed func()) error

	// Echo subscribes to topic at s.QoS and fills rtt with round trips, one after another: each is
	// the time from publishing a message to receiving it.
	Echo(rtt []time.Duration) error

	Close() error
}

var errUnsupported = errors.New("the client does not support this scenario")

// unsupported is embedded by sessions that support only some methods.
type unsupported struct{}

func (unsupported) Publish(int) error          { return errUnsupported }
func (unsupported) Receive(int, func()) error  { return errUnsupported }
func (unsupported) Echo([]time.Duration) error { return errUnsupported }
