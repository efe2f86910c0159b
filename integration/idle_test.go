//go:build unix

package integration

import (
	"flag"
	"math"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

var fleetSize = flag.Int("fleet", 5000, "how many clients TestManyIdleClientsAreSmallAndReturnSpreadOverTime has")

const (
	fleetMemory = 12<<10 + 512 // allowed bytes for each client and its member
	fleetRace   = 1000         // maximum number of clients with the race detector
)

// An idle client needs little memory, and many idle clients do not all reconnect at the same time.
// The test measures the memory of the process, so it must not run in parallel with other tests.
func TestManyIdleClientsAreSmallAndReturnSpreadOverTime(t *testing.T) {
	n := fleetThatFits(t, *fleetSize)
	b := startDistantBroker(t)
	members := make([]*member, n)
	for i := range members {
		members[i] = newMember()
	}
	goroutines, memory := runtime.NumGoroutine(), memoryInUse()
	for _, m := range members {
		m.open(t, "mqtt://"+b.addr)
	}
	defer closeAll(members)
	ctx := within(t)
	for _, m := range members {
		m.online(t)
		if err := m.client.Publish(ctx, text("a/b", "before there is nothing to do", 1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range members {
		m.wait(t, m.idle, "no PINGRESP arrived")
	}
	// A new goroutine gets a stack as large as the stacks were on average at the last collection.
	// That is too large if many clients had just connected, or were at work, at that time. So the
	// test takes the least of several measurements, each after a collection and a later PINGRESP.
	each, tries := math.Inf(1), 4
	if raceDetector { // whose memory is not judged
		tries = 1
	}
	for ; tries > 0 && each > fleetMemory; tries-- {
		runtime.GC()
		for _, m := range members {
			m.awaitPingresp()
		}
		for _, m := range members {
			m.wait(t, m.next, "no later PINGRESP arrived")
		}
		each = min(each, float64(memoryInUse()-memory)/float64(n))
	}
	running := runtime.NumGoroutine() - goroutines
	t.Logf("%d clients: %.2f KiB and %.2f goroutines each", n, each/1024, float64(running)/float64(n))
	if running > 3*n {
		t.Errorf("%d goroutines for %d clients, want at most three each", running, n)
	}
	if each > fleetMemory && !raceDetector {
		t.Errorf("%.0f bytes for each client, limit %d", each, fleetMemory)
	}

	b.process.kill()
	for _, m := range members {
		m.wait(t, m.refused, "no attempt was made while the broker was away")
	}
	back := time.Now()
	b.start()
	returned := make([]time.Duration, n)
	for i, m := range members {
		m.online(t)
		returned[i] = m.check(t).Sub(back)
	}
	checkSpread(t, returned)
}

// raise raises a limit to at least n. FreeBSD has signed limits.
func raise[T int64 | uint64](limit *T, n int) { *limit = max(*limit, T(n)) }

// fleetThatFits raises the limit of open files for n clients and returns n. If it cannot raise the
// limit so far, it returns the number of clients that the limit allows.
func fleetThatFits(t *testing.T, n int) int {
	const others = 100
	if raceDetector && n > fleetRace {
		t.Logf("with the race detector: %d clients, not %d", fleetRace, n)
		n = fleetRace
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	raised := limit
	raise(&raised.Cur, n+others)
	raise(&raised.Max, n+others)
	if raised == limit {
		return n
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err != nil {
		fit := int(limit.Cur) - others
		t.Logf("%d open files are allowed (%v): %d clients, not %d", limit.Cur, err, fit, n)
		return fit
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) })
	return n
}

// checkSpread verifies that the clients do not reconnect all at the same time.
func checkSpread(t *testing.T, returned []time.Duration) {
	t.Helper()
	const slot = 250 * time.Millisecond
	slices.Sort(returned)
	n := len(returned)
	counts := make([]int, returned[n-1]/slot+1)
	for _, after := range returned {
		counts[max(after, 0)/slot]++
	}
	t.Logf("the last attempts began %v to %v after the broker was started again; in each %v: %d",
		returned[0].Round(time.Millisecond), returned[n-1].Round(time.Millisecond), slot, counts)
	if most := slices.Max(counts); most > n/3 {
		t.Errorf("%d of %d clients return within %v", most, n, slot)
	}
	if middle := returned[n*95/100] - returned[n*5/100]; middle < 3*slot {
		t.Errorf("nine tenths of the clients return within %v", middle)
	}
}

func closeAll(members []*member) {
	var closing sync.WaitGroup
	for _, m := range members {
		closing.Go(func() { m.client.Close() })
	}
	closing.Wait()
}
