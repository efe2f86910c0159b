package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// An assignment is the task of a child. The child gets it as JSON in the environment.
//
// The child connects, writes "ready" to its standard output, reads "go" from its standard input,
// and runs. A publishing child then waits for "done", which the parent writes when the broker has
// counted all messages. At the end the child writes "result" and its measurement. At any time it
// may instead write "unsupported", or "failed" and the reason.
type assignment struct {
	Contender string
	Scenario  scenario
	Profile   string // path for a CPU profile; empty: none
	Trace     string // path for an execution trace; empty: none
}

const childVariable = "MILLRACE_BENCH_CHILD"

// beChild is the main function of a child. It returns only in the parent.
func beChild(all []contender) {
	text := os.Getenv(childVariable)
	if text == "" {
		return
	}
	var a assignment
	err := json.Unmarshal([]byte(text), &a)
	if err == nil {
		err = a.carryOut(all)
	}
	switch {
	case errors.Is(err, errUnsupported):
		say("unsupported")
	case err != nil:
		say("failed %v", strconv.Quote(err.Error()))
		os.Exit(1)
	}
	os.Exit(0)
}

func say(format string, args ...any) {
	if _, err := fmt.Fprintf(os.Stdout, format+"\n", args...); err != nil {
		os.Exit(1) // the parent has exited
	}
}

// A child carries out one assignment.
type child struct {
	assignment
	sessions []session
	input    *bufio.Scanner
	meter    meter
	result   measurement

	mu sync.Mutex // guards sessions while one is closed

	// Receivers use these: no message arrives before all sessions have subscribed.
	subscribed sync.WaitGroup
	begun      chan struct{}
}

func (a assignment) carryOut(all []contender) error {
	c := child{assignment: a, input: bufio.NewScanner(os.Stdin), begun: make(chan struct{})}
	c.result.Messages = a.Scenario.Messages
	before := memoryInUse()
	if err := c.connect(all); err != nil {
		return err
	}
	var err error
	switch a.Scenario.Kind {
	case publish, durable:
		err = c.publish()
	case receive:
		err = c.receive()
	case echo:
		err = c.echo()
	case idle:
		err = c.idle(before)
	}
	if err != nil {
		return err
	}
	text, err := json.Marshal(&c.result)
	if err != nil {
		return err
	}
	say("result %s", text)
	return inParallel(len(c.sessions), 32, c.close)
}

// close ends a session. A second call for the same session does nothing.
func (c *child) close(i int) error {
	c.mu.Lock()
	s := c.sessions[i]
	c.sessions[i] = nil
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Close()
}

// connect connects all sessions, 32 at a time.
func (c *child) connect(all []contender) error {
	s := &c.Scenario
	for _, k := range all {
		if k.name != c.Contender {
			continue
		}
		c.sessions = make([]session, s.Clients)
		return inParallel(s.Clients, 32, func(i int) (err error) {
			c.sessions[i], err = k.connect(s, fmt.Sprintf("bench-%d", i))
			return err
		})
	}
	return fmt.Errorf("there is no contender %q", c.Contender)
}

// inParallel calls do for each number below n, at most limit calls at once, and returns the first
// error.
func inParallel(n, limit int, do func(i int) error) error {
	errs, slots := make(chan error, n), make(chan struct{}, limit)
	go func() {
		for i := range n {
			slots <- struct{}{}
			go func() {
				errs <- do(i)
				<-slots
			}()
		}
	}()
	for range n {
		if err := <-errs; err != nil {
			return err // the exit of the process ends the other calls
		}
	}
	return nil
}

// begin writes "ready" and starts the measurement when it reads "go". A receiver starts the
// measurement before "ready", because the first messages may arrive before "go".
func (c *child) begin() error {
	if err := c.meter.prepare(&c.assignment); err != nil {
		return err
	}
	c.meter.unseen = c.writes
	if c.Scenario.Kind == receive {
		c.meter.start()
	}
	say("ready")
	if err := c.expect("go"); err != nil {
		return err
	}
	if c.Scenario.Kind != receive {
		c.meter.start()
	}
	return nil
}

// writes returns the sum of the writes of the sessions that count them.
func (c *child) writes() (n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		if s, ok := s.(sender); ok {
			n += s.writes()
		}
	}
	return n
}

func (c *child) expect(word string) error {
	if !c.input.Scan() {
		os.Exit(1) // the parent has exited
	}
	if got := c.input.Text(); got != word {
		return fmt.Errorf("the parent wrote %q instead of %q", got, word)
	}
	return nil
}

func (c *child) publish() error {
	if err := c.begin(); err != nil {
		return err
	}
	s := &c.Scenario
	err := inParallel(s.Clients, s.Clients, func(i int) error { return c.sessions[i].Publish(s.share(i)) })
	if err != nil {
		return err
	}
	if err := c.expect("done"); err != nil {
		return err
	}
	return c.meter.stop(&c.result)
}

func (c *child) receive() error {
	s := &c.Scenario
	c.subscribed.Add(s.Clients)
	ended := make(chan error, 1)
	go func() {
		ended <- inParallel(s.Clients, s.Clients, func(i int) error {
			err := c.sessions[i].Receive(s.share(i), func() {
				c.subscribed.Done()
				<-c.begun
			})
			if s.Clients > 1 { // a session that continues to receive would slow down the other sessions
				go c.close(i)
			}
			return err
		})
	}()
	all := make(chan struct{})
	go func() {
		c.subscribed.Wait()
		close(all)
	}()
	select {
	case <-all:
	case err := <-ended: // a session failed before all had subscribed
		return err
	}
	if err := c.begin(); err != nil {
		return err
	}
	close(c.begun)
	if err := <-ended; err != nil {
		return err
	}
	return c.meter.stop(&c.result)
}

func (c *child) echo() error {
	if err := c.begin(); err != nil {
		return err
	}
	rtt := make([]time.Duration, c.Scenario.Messages)
	if err := c.sessions[0].Echo(rtt); err != nil {
		return err
	}
	c.result.P50, c.result.P99 = quantile(rtt, 0.50).Seconds(), quantile(rtt, 0.99).Seconds()
	return c.meter.stop(&c.result)
}
