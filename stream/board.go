package stream

import (
	"context"
	"sync"
	"time"
)

// State is where the connection stands.
type State struct {
	Online   bool
	Resumed  bool      // the broker had our session (section 3.2.2.2); always false on 3.1, which does not tell
	Attempt  int       // connection attempts since the last one that succeeded
	Err      error     // why the session is not online, or why the last attempt failed; nil before the first
	Since    time.Time // of this state
	Endpoint string    // the URL that was connected last, without user, password and query; at first that of Open
}

// board shows the newest State to whoever looks. The loop writes, and never
// waits for a reader.
type board struct {
	mu      sync.Mutex
	state   State
	online  chan struct{} // closed while online
	readers map[chan State]func() bool
	closed  bool
}

func newBoard(endpoint string) *board {
	return &board{
		state:  State{Since: time.Now(), Endpoint: endpoint},
		online: make(chan struct{}),
	}
}

// set shows a new state. A reader who has not taken the one before gets the
// newer one instead.
func (b *board) set(change func(*State)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.state.Online
	change(&b.state)
	b.state.Since = time.Now()
	switch {
	case b.state.Online && !was:
		close(b.online)
	case was && !b.state.Online:
		b.online = make(chan struct{})
	}
	for ch := range b.readers {
		show(ch, b.state)
	}
}

func show(ch chan State, s State) {
	select {
	case <-ch:
	default:
	}
	ch <- s // cap 1, and the board is the only sender
}

// Online returns a channel that is closed while the session is connected. It is
// a level: get it anew for each wait.
func (s *Session) Online() <-chan struct{} {
	b := s.board
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.online
}

// States returns a channel with the newest State: first the present one, then
// each change, of which a slow reader misses all but the last. It is closed
// when ctx or the session ends.
func (s *Session) States(ctx context.Context) <-chan State {
	b := s.board
	ch := make(chan State, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	ch <- b.state
	if b.closed {
		close(ch)
		return ch
	}
	if b.readers == nil {
		b.readers = make(map[chan State]func() bool)
	}
	b.readers[ch] = context.AfterFunc(ctx, func() { b.remove(ch) })
	return ch
}

func (b *board) remove(ch chan State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.readers[ch]; ok {
		delete(b.readers, ch)
		close(ch)
	}
}

// close ends all readers after they have been shown the last state.
func (b *board) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for ch, stop := range b.readers {
		stop()
		close(ch)
	}
	clear(b.readers)
}
