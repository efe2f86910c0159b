package stream

import (
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
)

const (
	testLimit  = 1000 // so the high-water mark is 500
	testUnread = 3200 // a sixteenth is 200
)

func testThrottle() throttle { return throttle{limit: testLimit, maxUnread: testUnread} }

// calm is a load under which reading goes on.
func calm() load { return load{delivering: true} }

func TestReadingPausesBeyondMaxUnread(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*load)
		paused bool
		wakeAt usage
	}{
		"calm":                        {func(l *load) {}, false, noUsage},
		"at the limit":                {func(l *load) { l.waiting.unread = testUnread }, false, noUsage},
		"beyond the limit":            {func(l *load) { l.waiting.unread = testUnread + 1 }, true, usage{-1, testUnread}},
		"an answer is awaited":        {func(l *load) { l.waiting.unread, l.awaiting = testUnread+1, true }, true, usage{-1, testUnread}},
		"QoS 0 above its mark":        {func(l *load) { l.waiting.qos0 = testLimit }, false, usage{250, -1}},
		"Shutdown takes only acks":    {func(l *load) { l.waiting.unread, l.delivering = 9*testUnread, false }, false, usage{-1, testUnread}},
		"as many unacked as allowed":  {func(l *load) { l.unacked = flow.MaxUnacked }, false, noUsage},
		"one more unacked":            {func(l *load) { l.unacked = flow.MaxUnacked + 1 }, true, noUsage},
		"the writer is behind":        {func(l *load) { l.ackBytes = maxAckBytes + 1 }, true, noUsage},
		"the writer, during Shutdown": {func(l *load) { l.ackBytes, l.delivering = maxAckBytes+1, false }, true, noUsage},
	} {
		th, l := testThrottle(), calm()
		c.change(&l)
		if wakeAt := th.decide(0, l); th.paused != c.paused || wakeAt != c.wakeAt || th.reads(0) == c.paused {
			t.Errorf("%s: paused %t, wake at %+v, want %t, %+v", name, th.paused, wakeAt, c.paused, c.wakeAt)
		}
	}
}

// A pause for consumers makes the session behind after a second, exactly, until a sixteenth of
// MaxUnread is free.
func TestASessionThatReadsNothingForASecondIsBehind(t *testing.T) {
	th, l := testThrottle(), calm()
	began := 5 * time.Second
	for i, c := range []struct {
		after          time.Duration
		unread         int
		paused, behind bool
	}{
		{0, testUnread, false, false},
		{1, testUnread + 1, true, false},
		{time.Second, testUnread + 1, true, false},
		{time.Second + 1, testUnread + 1, true, true},
		{time.Hour, testUnread - 199, true, true},
		{time.Hour, testUnread - 200, false, false},
		{2 * time.Hour, testUnread + 1, true, false},
		{2*time.Hour + time.Second - 1, testUnread, false, false},
		{2*time.Hour + time.Second, testUnread + 1, true, false},
		{2*time.Hour + 2*time.Second - 1, testUnread + 1, true, false},
		{2*time.Hour + 2*time.Second, testUnread + 1, true, true},
	} {
		l.waiting.unread = c.unread
		wakeAt := th.decide(began+c.after, l)
		if th.paused != c.paused || th.behind != c.behind {
			t.Errorf("step %d: paused %t, behind %t, want %t, %t", i, th.paused, th.behind, c.paused, c.behind)
		}
		if c.paused && wakeAt.unread != th.mark() {
			t.Errorf("step %d: wakes at %d, but reads at %d", i, wakeAt.unread, th.mark())
		}
		if due := th.behindAt > 0; due != (c.paused && !c.behind) {
			t.Errorf("step %d: behind at %v", i, th.behindAt)
		}
	}
}

// A pause for the writer says nothing about consumers.
func TestASlowWriterDoesNotMakeTheSessionBehind(t *testing.T) {
	th, l := testThrottle(), calm()
	l.ackBytes = maxAckBytes + 1
	th.decide(0, l)
	if th.decide(time.Hour, l); !th.paused || th.forConsumers || th.behind || th.behindAt != 0 || th.pausedFor(time.Hour) != time.Hour {
		t.Errorf("%+v", th)
	}
}

// A rest needs QoS 0 that was read, inboxes above the mark, and a consumer that took something
// since the last rest.
func TestReadingRestsOnlyBehindAConsumerAtWork(t *testing.T) {
	th := testThrottle()
	now := 10 * time.Second
	rests := func(change func(*load)) bool {
		l := calm()
		l.waiting.qos0, l.consumed = 501, 1
		th.qos0Read = true
		change(&l)
		th.decide(now, l)
		return !th.reads(now)
	}
	if rests(func(l *load) { l.waiting.qos0 = 500 }) {
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
	if rests(func(l *load) { l.waiting.qos0, l.consumed = 250, 3 }) {
		t.Error("a rest with inboxes below half of the mark")
	}
}

// Between half of the mark and the mark nothing begins and nothing ends.
func TestTheMarkHasTwoSides(t *testing.T) {
	th := testThrottle()
	for i, c := range []struct {
		waiting int
		crowded bool
	}{{400, false}, {501, true}, {400, true}, {251, true}, {250, false}, {400, false}} {
		l := calm()
		l.waiting.qos0 = c.waiting
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
