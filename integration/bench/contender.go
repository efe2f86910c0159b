package main

import (
	"errors"
	"runtime/debug"
	"time"
)

// A contender is one way to use one client library.
type contender struct {
	name    string
	connect func(s *scenario, id string) (session, error) // connects one client

	// command, if set, returns the program that runs as the child instead of this program, and its
	// arguments. If the first call returns an error, the contender is skipped for that reason.
	command func(s *scenario) ([]string, error)

	version func(*debug.BuildInfo) string // if set, returns the version of the library for the conditions

	end func() error // if set, removes the files that command has created
}

// A session is one connected client. If a contender does not support a method, the method does
// nothing and returns errUnsupported.
type session interface {
	// Publish sends n messages with the payload s.body() to topic, at most s.Window of them in
	// flight. It returns when the exchange of every message has ended. At QoS 0 it returns when the
	// library reports the messages sent, if the library does report this.
	Publish(n int) error

	// Receive subscribes to s.filters() at s.QoS and calls the function subscribed when the broker
	// has granted the filters. This call returns when messages begin to arrive. Receive returns
	// when the consumer has received n messages.
	Receive(n int, subscribed func()) error

	// Echo subscribes to topic at s.QoS and fills rtt with the times of round trips, one after
	// another. A round trip lasts from publishing a message until it is received.
	Echo(rtt []time.Duration) error

	Close() error
}

// A sender is a session of a client that may send with a system call that used does not count.
type sender interface {
	// writes returns the number of writes of the client. It may include writes that used counts.
	writes() uint64
}

var errUnsupported = errors.New("the client does not support this scenario")

// unsupported has the methods of a session, which all return errUnsupported. Sessions that support
// only some methods embed it.
type unsupported struct{}

func (unsupported) Publish(int) error          { return errUnsupported }
func (unsupported) Receive(int, func()) error  { return errUnsupported }
func (unsupported) Echo([]time.Duration) error { return errUnsupported }
