package stream

import (
	"testing"
	"time"
)

func TestMemoryOfABurstIsFreedOncePerPeriod(t *testing.T) {
	const sec = time.Second
	var b burst
	for _, step := range []struct {
		at      time.Duration
		packets uint64
		over    bool
		waiting bool // when the memory was freed
	}{
		{at: 1 * sec, packets: 63},
		{at: 100 * sec, packets: 63},
		{at: 101 * sec, packets: 64},
		{at: 102 * sec, packets: 5000},
		{at: 111*sec - 1, packets: 5000},
		{at: 111 * sec, packets: 5000, over: true, waiting: true},
		{at: 121*sec - 1, packets: 5000},
		{at: 121 * sec, packets: 5001, over: true},
		{at: 150 * sec, packets: 5000},
		{at: 200 * sec, packets: 5064},
		{at: 201 * sec, packets: 5065},
		{at: 211 * sec, packets: 5065, over: true},
	} {
		if got := b.over(step.at, step.packets); got != step.over {
			t.Errorf("at %v with %d packets: %t", step.at, step.packets, got)
		}
		if step.over {
			b.freed(step.at, step.packets, step.waiting)
		}
	}
}

// PINGRESP frees memory too. An idle client is not woken afterwards.
func TestMemoryFreedEarlierIsNotFreedAgain(t *testing.T) {
	var b burst
	b.over(time.Second, 1000)
	b.freed(2*time.Second, 1000, false)
	if b.freeAt != 0 || b.over(time.Hour, 1000) {
		t.Errorf("%+v", b)
	}
	b.freed(time.Hour, 1001, true)
	if b.freeAt != 0 {
		t.Errorf("a client with few packets is woken at %v", b.freeAt)
	}
}
