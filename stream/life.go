package stream

import "sync"

// life is shared by all parts of a session: the way to its end, the goroutines that Close waits
// for, and the means to wake the loop. The levels are closed in this order: closing by Close, the
// others by the loop.
type life struct {
	wakeups    chan struct{} // cap 1, from anyone to the loop
	closing    chan struct{} // Close wants the end
	intakeEnds chan struct{} // nothing more is accepted
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

// close asks for the end. It can be called any number of times.
func (l *life) close() { l.closeOnce.Do(func() { close(l.closing) }) }

// endIntake closes intakeEnds. It is the loop's, and can be called twice.
func (l *life) endIntake() {
	select {
	case <-l.intakeEnds:
	default:
		close(l.intakeEnds)
	}
}

// start runs f on a goroutine that Close waits for; false when it is too late.
func (l *life) start(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.noMoreHelpers {
		return false
	}
	l.helpers.Go(f)
	return true
}

// endHelpers lets no more helpers start and waits for the running ones.
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

// Err returns nil while the session runs and after Close, otherwise why it ended.
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

// wake makes the loop look at the shared lists: deliveries acknowledged, room in the inboxes,
// goroutines that have ended.
func (l *life) wake() {
	select {
	case l.wakeups <- struct{}{}:
	default:
	}
}
