package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// State describes the connection of a session at one moment.
type State struct {
	Online   bool
	Resumed  bool           // the broker had our session (section 3.2.2.2); always false on 3.1, whose CONNACK does not say
	Version  frames.Version // of the last connection; 0 before the first
	Attempt  int            // failed connection attempts since the last connection
	Err      error          // why the session is not online; nil while online and before the first failure
	Since    time.Time      // the time of the change to this State
	Next     time.Time      // the beginning of the next attempt, also while it is under way; zero while online or at the end
	Server   *Server        // the broker's part of the terms on MQTT 5; nil while offline and on 3.x
	Endpoint string         // the URL of the last connection, at first the URL given to Open, without user, password and query
}

// A stateFeed sends the newest State to every reader. The loop changes the State and never waits
// for a reader.
type stateFeed struct {
	mu      sync.Mutex
	state   State
	failure error         // the last Err of a State
	online  chan struct{} // closed while online; made when somebody waits
	readers map[chan State]func() bool
	closed  bool
}

func newStateFeed(endpoint string) *stateFeed {
	return &stateFeed{state: State{Since: time.Now(), Endpoint: endpoint}}
}

// set sends a new State to the readers. A reader that has not received the previous State gets the
// new State instead.
func (f *stateFeed) set(change func(*State)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.state.Online
	change(&f.state)
	if f.state.Err != nil {
		f.failure = f.state.Err
	}
	f.state.Since = time.Now()
	switch {
	case f.state.Online && !was && f.online != nil:
		close(f.online)
	case was && !f.state.Online:
		f.online = nil
	}
	for ch := range f.readers {
		replace(ch, f.state)
	}
}

// State returns the present State.
func (f *stateFeed) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

func replace(ch chan State, s State) {
	select {
	case <-ch:
	default:
	}
	ch <- s // cap 1, and the feed is the only sender
}

// Online returns a channel that is closed while the session is connected.
func (f *stateFeed) Online() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.online == nil && f.state.Online:
		return always
	case f.online == nil:
		f.online = make(chan struct{})
	}
	return f.online
}

// States returns a channel that first has the present State, then each new State. The channel is
// closed when ctx or the feed ends.
func (f *stateFeed) States(ctx context.Context) <-chan State {
	ch := make(chan State, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	ch <- f.state
	if f.closed {
		close(ch)
		return ch
	}
	if f.readers == nil {
		f.readers = make(map[chan State]func() bool)
	}
	f.readers[ch] = context.AfterFunc(ctx, func() { f.remove(ch) })
	return ch
}

func (f *stateFeed) remove(ch chan State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.readers[ch]; ok {
		delete(f.readers, ch)
		close(ch)
	}
}

// close closes the channels of all readers. A last State in a channel can still be received.
func (f *stateFeed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for ch, stop := range f.readers {
		stop()
		close(ch)
	}
	clear(f.readers)
}

// recently is how long a connection must last before the failure before it no longer explains
// anything. It is as long as the longest default interval between attempts.
const recently = time.Minute

// reason returns why a call has no result yet: the session is offline, or else waits, with the last
// failure if the session has been online only for a short time.
func (f *stateFeed) reason(waits string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch lasted := time.Since(f.state.Since); {
	case !f.state.Online && f.failure == nil:
		return errors.New("no connection yet")
	case !f.state.Online:
		return &causedError{errNotConnected, f.failure}
	case f.failure != nil && lasted < recently:
		return &causedError{fmt.Errorf("%s; connected %v ago after", waits, lasted.Round(time.Millisecond)), f.failure}
	}
	return errors.New(waits)
}

var errNotConnected = errors.New("not connected")
