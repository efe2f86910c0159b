package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
)

// A crash is an exchange with failures. At given points the process dies, a commit fails or the
// connection is cut.
type crash struct {
	version frames.Version
	window  int          // window of the first process
	then    int          // window of the second process
	out     []frames.QoS // by the client
	in      []frames.QoS // by the broker
	late    bool         // deliveries are acknowledged once nothing else is left to do
	lost    bool         // the broker loses its session state when the process dies

	die     int  // the change at which the process dies; 0 is never
	stumble int  // the change whose commit reports an error
	applied bool // the store applied the changes in spite of the error
	cut     int  // the packet after which the connection is cut
}

func (k crash) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v window=%d,%d out=%v in=%v late=%v", k.version, k.window, k.then, k.out, k.in, k.late)
	if k.lost {
		b.WriteString(" lost")
	}
	if k.applied {
		b.WriteString(" applied")
	}
	return b.String()
}

func (k crash) where() string {
	return fmt.Sprintf("killed by change %d, error at change %d (applied: %v), cut after packet %d", k.die, k.stumble, k.applied, k.cut)
}

// crashes returns the exchanges that the tests interrupt.
func crashes() []crash {
	var list []crash
	for _, k := range []crash{
		{window: 1, then: 1, out: []frames.QoS{2, 0, 1, 2, 0, 1}},
		{window: 3, then: 1, out: []frames.QoS{2, 1, 2, 1, 0, 2, 2}},
		{window: 1, then: 3, in: []frames.QoS{2, 1, 2}},
		{window: 1, then: 1, in: []frames.QoS{2, 2, 1}, late: true},
		{window: 3, then: 3, out: []frames.QoS{1, 2, 2, 1}, in: []frames.QoS{2, 1, 2}},
		{window: 3, then: 1, out: []frames.QoS{2, 2}, in: []frames.QoS{1, 2, 2}, late: true},
	} {
		for _, k.version = range versions() {
			list = append(list, k)
		}
	}
	return list
}

// onStores runs a test for every kind of store. The contents of a disk are the same at 3.1 and
// 3.1.1, so the disk is tested with one of them.
func onStores(t *testing.T, k crash, test func(t *testing.T, make func(t *testing.T) *medium)) {
	t.Helper()
	for _, store := range stores {
		if store.name == "disk" && k.version == frames.V31 {
			continue
		}
		t.Run(store.name+" "+k.String(), func(t *testing.T) { test(t, store.make) })
	}
}

// everyChange plays k with a failure at the first change of the store, then at the second, and so
// on. The function set puts the number n of the change into k. The last play is the first without a
// failure, because it has fewer than n changes.
func (k crash) everyChange(t *testing.T, make func(t *testing.T) *medium, set func(k *crash, n int)) {
	t.Helper()
	for n, more := 1, true; more; n++ {
		set(&k, n)
		synctest.Test(t, func(t *testing.T) { more = k.play(t, make(t)) })
		if t.Failed() {
			t.Fatal(k.where())
		}
	}
}

// K1 to K6, K10, K11. A process may die at any change of the store: the next process loses no
// message, and repeats none.
func TestAProcessKilledAtAnyChangeLosesAndRepeatsNothing(t *testing.T) {
	for _, k := range crashes() {
		onStores(t, k, func(t *testing.T, make func(t *testing.T) *medium) {
			k.everyChange(t, make, func(k *crash, n int) { k.die = n })
		})
	}
}

// K7: the broker loses its session, and the process dies too.
func TestAProcessKilledWhileTheBrokerLostTheSessionLosesNothing(t *testing.T) {
	for _, k := range crashes() {
		k.lost = true
		t.Run(k.String(), func(t *testing.T) {
			k.everyChange(t, memoryMedium, func(k *crash, n int) { k.die = n })
		})
	}
}

// The connection is cut first, and the process dies during the recovery.
func TestAProcessKilledAtAnyChangeAfterACutLosesAndRepeatsNothing(t *testing.T) {
	for _, k := range crashes() {
		t.Run(k.String(), func(t *testing.T) {
			step := 1
			if k.version == frames.V31 {
				step = 3
			}
			for k.cut = 1; k.cut <= 24; k.cut += step { // the exchange has at most 32 packets
				k.everyChange(t, memoryMedium, func(k *crash, n int) { k.die = n })
			}
		})
	}
}

// When a commit fails, only the publications that it accepts are lost, and their Receipts give the
// error. That also holds if the store has applied the failed commit, as can happen when fsync
// fails.
func TestAFailedCommitLosesOnlyItsPublications(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for _, k := range crashes() {
			k.applied = applied
			onStores(t, k, func(t *testing.T, make func(t *testing.T) *medium) {
				k.everyChange(t, make, func(k *crash, n int) { k.stumble = n })
			})
		}
	}
}

// Here the first connection is cut, and a commit fails during a later connection.
func TestAFailedCommitAfterACutLosesOnlyItsPublications(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for _, k := range crashes() {
			k.applied = applied
			t.Run(k.String(), func(t *testing.T) {
				for k.cut = 2; k.cut <= 14; k.cut += 6 {
					k.everyChange(t, memoryMedium, func(k *crash, n int) { k.stumble = n })
				}
			})
		}
	}
}

// The process dies soon after the failed commit.
func TestAProcessKilledAfterACommitThatFailedLosesAndRepeatsNothing(t *testing.T) {
	for _, applied := range []bool{false, true} {
		for _, k := range crashes() {
			k.applied = applied
			t.Run(k.String(), func(t *testing.T) {
				for distance := 1; distance <= 9; distance += 2 {
					k.everyChange(t, memoryMedium, func(k *crash, n int) { k.stumble, k.die = n, n+distance })
				}
			})
		}
	}
}
