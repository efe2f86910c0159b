package stream

import (
	"sync"
	"time"
)

// A commitGate stands between a commit of the Store and the bytes that wait for it. The connection
// is free during the commit: packets that depend on no change may overtake it in an early write.
//
// Invariant: at most one early write is under way, and only during a commit. The writer leaves the
// gate after both, and writes nothing after an early write that failed.
type commitGate struct {
	mu       sync.Mutex
	underWay bool         // set when the writer gets the batch
	bytes    []byte       // of the batch
	early    <-chan error // cap 1, the result of the last early write; nil if there was none

	// Owned by the loop.
	began    time.Duration
	reported bool // the warning about a slow commit was logged
}

// enter begins a commit at the time now. The bytes wait for it.
func (g *commitGate) enter(bytes []byte, now time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.underWay, g.bytes, g.early = true, bytes, nil
	g.began, g.reported = now, false
}

// leave ends the commit. It returns the bytes that are left to write, and the error of the last
// early write.
func (g *commitGate) leave() (bytes []byte, err error) {
	bytes, early := g.end()
	if early != nil {
		err = <-early
	}
	return bytes, err
}

func (g *commitGate) end() ([]byte, <-chan error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	bytes, early := g.bytes, g.early
	g.underWay, g.bytes, g.early = false, nil, nil
	return bytes, early
}

// age returns how long a commit has been under way, 0 if there is none. A nil gate has none.
func (g *commitGate) age(now time.Duration) time.Duration {
	if g == nil {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.underWay {
		return 0
	}
	return max(1, now-g.began)
}

// commits reports whether w is the result of a commit that succeeded.
func (o *outbox) commits(w written) bool {
	return !w.early && w.commit == nil && len(o.current.changes) > 0
}

// overtake calls take if a commit is under way. The function take must not wait. It returns the
// bytes that still wait for the commit, and whether an early write begins. If one begins, overtake
// returns the channel to which its result must be sent; otherwise it returns nil.
func (g *commitGate) overtake(take func() (rest []byte, some bool)) chan<- error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.underWay {
		return nil
	}
	rest, some := take()
	g.bytes = rest
	if !some {
		return nil
	}
	result := make(chan error, 1)
	g.early = result
	return result
}
