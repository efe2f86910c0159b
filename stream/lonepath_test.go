package stream

import (
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A caller that publishes all the time must not keep the loop from its work.
func TestTheLoopWaitsForOneWriteOfACallerAtMost(t *testing.T) {
	var p lonePath
	var writes atomic.Int64
	p.begin(slog.New(slog.DiscardHandler), func(*publishCall) loneResult {
		writes.Add(1)
		for began := time.Now(); time.Since(began) < 20*time.Microsecond; {
		}
		return loneWritten
	})
	var ended atomic.Bool
	var caller sync.WaitGroup
	caller.Go(func() {
		for !ended.Load() {
			p.publish(new(publishCall))
		}
	})
	waits := make([]int64, 100)
	for i := range waits {
		before := writes.Load()
		p.lend()
		for writes.Load() < before+3 {
			runtime.Gosched()
		}
		before = writes.Load()
		p.takeBack()
		waits[i] = writes.Load() - before
	}
	ended.Store(true)
	caller.Wait()
	if slices.Sort(waits); waits[len(waits)/2] > 1 { // the system may stop this goroutine before a wait
		t.Errorf("while the loop waited, the caller wrote %d messages in the median", waits[len(waits)/2])
	}
}
