package stream_test

import (
	"math"
	"runtime"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// The largest allowed numbers of allocations per message of 64 bytes. They are not 0, because a
// whole exchange is measured, with all its goroutines: the consumer and the broker in memory
// allocate too, and each batch has its share of channels, slices and timers. For a received message
// the number includes its share of the read buffer, because the session does not use that memory
// again.
const (
	perPublished = 0.1
	perReceived  = 0.2
)

// The test runs the code of the benchmarks once. It limits the allocations per message, and
// requires one write call per batch.
func TestAMessageCostsFewAllocationsAndFewWrites(t *testing.T) {
	const n = 10_000
	for _, c := range waysOut {
		for _, q := range levels {
			wantCost(t, c.name, q, n, perPublished, func(b *bench) { c.send(b, t, q, n) })
		}
	}
	for _, c := range waysIn {
		for _, q := range levels {
			wantCost(t, c.name, q, n, perReceived, func(b *bench) { b.feed(q, n); c.take(b, t, n) })
		}
	}
}

// The copy of a message that Latest hands over is an allocation, and a superseded message has none.
func TestLatestCostsFewAllocations(t *testing.T) {
	const n = 10_000
	for _, q := range levels {
		wantCost(t, "all of Latest", q, n, 1+perReceived, func(b *bench) { b.feed(q, n); b.latest(n) })
		wantCost(t, "Latest", q, n, perReceived, func(b *bench) { b.superseding(q, n) })
	}
}

// wantCost calls run once, then measures up to three further calls until one costs no more than
// bound. Each call sends or receives n messages. Several goroutines take part, so wantCost counts
// all allocations of the process.
func wantCost(t *testing.T, name string, q frames.QoS, n int, bound float64, run func(*bench)) {
	t.Helper()
	wantCostOf(t, newBench(t, 1000), name, q, n, bound, run)
}

func wantCostOf(t *testing.T, rig *bench, name string, q frames.QoS, n int, bound float64, run func(*bench)) {
	t.Helper()
	run(rig) // buffers grow to their final size
	got := math.Inf(1)
	for try := 0; try < 3 && got > bound; try++ { // on a busy machine buffers may grow again
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run(rig)
		runtime.ReadMemStats(&after)
		got = float64(after.Mallocs-before.Mallocs) / float64(n)
	}
	report := t.Logf
	if got > bound {
		report = t.Errorf
	}
	report("%s, %v: %.3f allocations for each message, want at most %.1f", name, q, got, bound)
	rig.s.Close()
	writes, batches := rig.conn.Writes()-1, rig.s.Stats().Writes // without CONNECT
	if uint64(writes) != batches {
		t.Errorf("%s, %v: %d write calls for %d batches, want one each", name, q, writes, batches)
	}
}
