package stream

import "sync"

// life is shared by all parts of a session. It has the channels that mark the steps to the end, the
// goroutines that Close waits for, and the channel that wakes the loop. The channels closing,
// intakeEnds, ending and done are closed in this order. Close closes closing, and the loop closes
// the other three.
type life struct {
	wakeups    chan struct{} // cap 1, from anyone to the loop
	closing    chan struct{} // Close was called
	intakeEnds chan struct{} // no more publishings are accepted
	ending     chan struct{} // the loop takes no more commands
	done       chan struct{} // every goroutine is gone
	closeOnce  sync.Once

	mu            sync.Mutex
	err           error          // why the session ended by itself
	helpers       sync.WaitGroup // goroutines that serve one channel of a user
	noMoreHelpers bool

	// Set before done is closed.
	closeErr error
	last     *Stats
}

func newLife() *life {
	return &life{
		wakeups:    make(chan struct{}, 1),
		closing:    make(chan struct{}),
		intakeEnds: make(chan struct{}),
		ending:     make(chan struct{}),
		done:       make(chan struct{}),
	}
}

// close asks the loop to end the session. It can be called any number of times.
func (l *life) close() { l.closeOnce.Do(func() { close(l.closing) }) }

// endIntake closes intakeEnds. Only the loop calls it, at most twice.
func (l *life) endIntake() {
	select {
	case <-l.intakeEnds:
	default:
		close(l.intakeEnds)
	}
}

// start runs f on a goroutine that Close waits for. It returns false, without running f, after
// endHelpers.
func (l *life) start(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.noMoreHelpers {
		return false
	}
	l.helpers.Go(f)
	return true
}

// endHelpers keeps new helpers from starting and waits for the running helpers.
func (l *life) endHelpers() {
	l.mu.Lock()
	l.noMoreHelpers = true
	l.mu.Unlock()
	l.helpers.Wait()
}

// fail records why the session ends by itself.
func (l *life) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// Err returns the reason why the session ended by itself. It returns nil while the session runs,
// and after Close.
func (l *life) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// closed returns ErrClosed, with the reason if the session ended by itself.
func (l *life) closed() error {
	if err := l.Err(); err != nil {
		return &causedError{ErrClosed, err}
	}
	return ErrClosed
}

// wake makes the loop check the lists that it shares with other goroutines: acknowledged
// deliveries, room in the inboxes, helpers that have ended.
func (l *life) wake() {
	select {
	case l.wakeups <- struct{}{}:
	default:
	}
}
