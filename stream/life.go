package stream

import (
	"sync"
	"sync/atomic"
	"time"
)

// A helper is a kind of goroutine that serves one channel of a user, or one function.
type helper byte

const (
	feeder        helper = iota // sends messages to a receive channel, and calls a Decoder
	stageHelper                 // runs a stage of PublishFrom, and calls an Encoder
	receiptSender               // sends Receipts to a channel that lags
	logWriter                   // calls the log handler
	authHelper                  // calls an Exchange
	helpers
)

// endGrace is how long the end of a session waits for each kind of helper, and for a connection
// attempt, when code of the user does not return.
const endGrace = time.Second

// life is shared by all parts of a session. It has the gates that mark the steps to the end, the
// goroutines that Close waits for, and the channel that wakes the loop. The steps are closing,
// intakeEnds, ending and done, in this order. Close makes the first, and the loop the other three.
type life struct {
	wakeups    chan struct{} // cap 1, from anyone to the loop
	waker      func()        // the method value wake, made once
	intakeEnds gate          // opens when no more publishings are accepted
	ending     gate          // opens when the loop takes no more commands
	done       gate          // opens when every goroutine is gone

	mu            sync.Mutex
	err           error          // why the session ended by itself
	ended         chan struct{}  // closed when a helper ends; nil while nobody waits for that
	running       [helpers]int32 // how many helpers run, of each kind
	noMoreHelpers bool

	closing atomic.Bool // Close was called

	last atomic.Pointer[Stats] // set before ending opens, and again before done opens

	closeErr error // set before done opens
}

func newLife() *life {
	l := &life{wakeups: make(chan struct{}, 1)}
	l.waker = l.wake
	return l
}

// close asks the loop to end the session. It can be called any number of times.
func (l *life) close() {
	l.closing.Store(true)
	l.wake()
}

// endIntake opens intakeEnds.
func (l *life) endIntake() { l.intakeEnds.set(true) }

// start runs f on a goroutine that Close waits for. It returns false, without running f, after
// endHelpers.
func (l *life) start(kind helper, f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.noMoreHelpers {
		return false
	}
	l.running[kind]++
	go func() {
		defer l.end(kind)
		f()
	}()
	return true
}

func (l *life) end(kind helper) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[kind]--
	if kind == feeder {
		l.wake() // the session may end now
	}
	if l.ended != nil {
		close(l.ended)
		l.ended = nil
	}
}

// await waits until no helper of a kind runs, and at most for endGrace, since a helper may run code
// of the user. It returns the number of helpers that still run.
func (l *life) await(kind helper) (left int) {
	grace := time.NewTimer(endGrace)
	defer grace.Stop()
	for {
		l.mu.Lock()
		left = int(l.running[kind])
		if left > 0 && l.ended == nil {
			l.ended = make(chan struct{})
		}
		ended := l.ended
		l.mu.Unlock()
		if left == 0 {
			return 0
		}
		select {
		case <-ended:
		case <-grace.C:
			return left
		}
	}
}

// count returns the number of helpers of a kind that run.
func (l *life) count(kind helper) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.running[kind])
}

// endHelpers keeps new helpers from starting.
func (l *life) endHelpers() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noMoreHelpers = true
}

// helpersEnded reports whether endHelpers was called.
func (l *life) helpersEnded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.noMoreHelpers
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
