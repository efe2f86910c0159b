package stream

import (
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
)

const testLimit = 1000 // so the high-water mark is 500

// calm is a load under which reading goes on.
func calm() load { return load{delivering: true} }

func TestReadingPausesBeyondTheLimit(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*load)
		paused bool
		wakeAt int
	}{
		"calm":                        {func(l *load) {}, false, -1},
		"at the limit":                {func(l *load) { l.waiting = testLimit }, false, 250},
		"beyond the limit":            {func(l *load) { l.waiting = testLimit + 1 }, true, testLimit},
		"an answer is awaited":        {func(l *load) { l.waiting, l.awaiting = 4*testLimit+3, true }, false, 250},
		"beyond four limits":          {func(l *load) { l.waiting, l.awaiting = 4*testLimit+4, true }, true, testLimit},
		"Shutdown takes only acks":    {func(l *load) { l.waiting, l.delivering = 9*testLimit, false }, false, testLimit},
		"as many unacked as allowed":  {func(l *load) { l.unacked = flow.MaxUnacked }, false, -1},
		"one more unacked":            {func(l *load) { l.unacked = flow.MaxUnacked + 1 }, true, -1},
		"the writer is behind":        {func(l *load) { l.backlog = maxBacklog + 1 }, true, -1},
		"the writer, during Shutdown": {func(l *load) { l.backlog, l.delivering = maxBacklog+1, false }, true, -1},
	} {
		th, l := throttle{limit: testLimit}, calm()
		c.change(&l)
		if wakeAt := th.decide(0, l); th.paused != c.paused || wakeAt != c.wakeAt || th.reads(0) == c.paused {
			t.Errorf("%s: paused %t, wake at %d, want %t, %d", name, th.paused, wakeAt, c.paused, c.wakeAt)
		}
	}
}

// A rest needs QoS 0 that was read, inboxes above the mark, and a consumer that took something
// since the last rest.
func TestReadingRestsOnlyBehindAConsumerAtWork(t *testing.T) {
	th := throttle{limit: testLimit}
	now := 10 * time.Second
	rests := func(change func(*load)) bool {
		l := calm()
		l.waiting, l.consumed = 501, 1
		th.qos0Read = true
		change(&l)
		th.decide(now, l)
		return !th.reads(now)
	}
	if rests(func(l *load) { l.waiting = 500 }) {
		t.Error("a rest at the mark")
	}
	if rests(func(l *load) { th.qos0Read = false }) {
		t.Error("a rest without QoS 0")
	}
	if rests(func(l *load) { l.awaiting = true }) {
		t.Error("a rest while an answer is awaited")
	}
	if !rests(func(*load) {}) || th.reads(now+maxRest-1) || !th.reads(now+maxRest) {
		t.Error("no rest of 2 ms behind a consumer at work")
	}
	now += maxRest
	if rests(func(*load) {}) {
		t.Error("another rest though the consumer sleeps")
	}
	if !rests(func(l *load) { l.consumed = 2 }) {
		t.Error("no rest though the consumer took more")
	}
	if rests(func(l *load) { l.waiting, l.consumed = 250, 3 }) {
		t.Error("a rest with inboxes below half of the mark")
	}
}

// Between half of the mark and the mark nothing begins and nothing ends.
func TestTheMarkHasTwoSides(t *testing.T) {
	th := throttle{limit: testLimit}
	for i, c := range []struct {
		waiting int
		crowded bool
	}{{400, false}, {501, true}, {400, true}, {251, true}, {250, false}, {400, false}} {
		l := calm()
		l.waiting = c.waiting
		if th.decide(0, l); th.crowded != c.crowded {
			t.Errorf("step %d: with %d bytes crowded is %t", i, c.waiting, th.crowded)
		}
	}
}

func TestTheHighWaterMarkIsHalfTheLimitAndBounded(t *testing.T) {
	if highWater(testLimit) != testLimit/2 || highWater(100<<20) != maxHighWater {
		t.Errorf("%d and %d", highWater(testLimit), highWater(100<<20))
	}
}
