package stream

import "sync"

// A command is a function that a method of Session runs on the loop.
type command func(*loop)

// commands are the commands that wait for the loop. They are a list, because a channel, and the
// record with which the loop waits for it, would take 224 bytes of each idle session.
//
// Invariant: commands run in the order in which they were added, one in each turn of the loop.
// After close none is added, and none waits.
type commands struct {
	mu      sync.Mutex
	waiting []waitingCommand
	closed  bool
}

type waitingCommand struct {
	run   command
	reply chan<- bool // cap 1; gets true after run has returned, false if it never runs
}

// add appends a command. It returns false after close.
func (c *commands) add(w waitingCommand) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.waiting = append(c.waiting, w)
	}
	return !c.closed
}

// next removes the first command, nil if there is none, and reports whether others wait.
func (c *commands) next() (w waitingCommand, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		return w, false
	}
	w = c.waiting[0]
	c.waiting[0] = waitingCommand{}
	if c.waiting = c.waiting[1:]; len(c.waiting) == 0 {
		c.waiting = nil // an idle session keeps no memory for them
	}
	return w, c.waiting != nil
}

// runNext runs the first command on the loop l, and reports whether others wait.
func (c *commands) runNext(l *loop) (more bool) {
	w, more := c.next()
	if w.run != nil {
		w.run(l)
		w.reply <- true
	}
	return more
}

// close refuses all commands from now on, including the commands that wait.
func (c *commands) close() {
	c.mu.Lock()
	refused := c.waiting
	c.waiting, c.closed = nil, true
	c.mu.Unlock()
	for _, w := range refused {
		w.reply <- false
	}
}
