package main

import (
	"errors"
	"time"
)

// A contender is one way to use one client library.
type contender struct {
	name    string
	connect func(s *scenario, id string) (session, error) // one connected client

	// command, if set, returns the program that plays the child instead of this
	// one, and its arguments. An error at the first call says why the contender is
	// left out.
	command func(s *scenario) ([]string, error)

	end func() error // if set, removes what the first command has made
}

// A session is one connected client. A method that a contender cannot do returns
// errUnsupported before it does anything.
type session interface {
	// Publish sends n messages of s.body() to topic with s.Window of them
	// outstanding, and returns when all are complete: QoS 0 as far as the
	// library tells, QoS 1 and 2 when the exchange has ended.
	Publish(n int) error

	// Receive subscribes s.filters() at s.QoS and calls subscribed when the
	// broker has granted them. subscribed returns when messages begin to come.
	// Receive returns when the consumer has received n of them.
	Receive(n int, subscribed func()) error

	// Echo subscribes topic at s.QoS and fills rtt with round trips, one after
	// another: a message to topic, until the same message is back at the consumer.
	Echo(rtt []time.Duration) error

	Close() error
}

var errUnsupported = errors.New("this client cannot do that")

// unsupported is the part of a session that a contender has not.
type unsupported struct{}

func (unsupported) Publish(int) error          { return errUnsupported }
func (unsupported) Receive(int, func()) error  { return errUnsupported }
func (unsupported) Echo([]time.Duration) error { return errUnsupported }
