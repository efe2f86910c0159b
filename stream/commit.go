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
	underWay bool         // from the time at which the writer gets the batch
	bytes    []byte       // of the batch
	early    <-chan error // cap 1, the result of the last early write; nil if there was none

	// Owned by the loop.
	began    time.Duration
	reported bool // that the commit is slow was logged
}

// enter begins a commit that bytes wait for.
func (g *commitGate) enter(bytes []byte, now time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.underWay, g.bytes, g.early = true, bytes, nil
	g.began, g.reported = now, false
}

// leave ends the commit. It returns the bytes that are left to write, and the error of the last early
// write.
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

// overtake calls take if a commit is under way. Take must not wait. It returns the bytes that still
// wait for the commit, and whether there is something to write early. Then the result of that write
// must be sent to the channel that overtake returns; otherwise overtake returns nil.
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
