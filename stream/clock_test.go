package stream

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTheClockWakesAtTheEarliestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fired := make(chan struct{})
		c := newClock(func() { fired <- struct{}{} })
		defer c.stop()
		fires := func(want time.Duration) {
			t.Helper()
			<-fired
			if due := c.tick(); !due || c.now != want {
				t.Fatalf("the timer fires at %v (due %t), want %v", c.now, due, want)
			}
			if c.tick() {
				t.Fatal("the deadline is due twice")
			}
		}
		c.arm(0, 5*time.Second, 3*time.Second, 0)
		fires(3 * time.Second)
		c.arm(2*time.Second, c.now, 7*time.Second) // deadlines that have passed do not count
		c.arm(6 * time.Second)                     // an earlier one does
		fires(6 * time.Second)
		c.arm(9 * time.Second)
		c.arm(20 * time.Second) // the deadline has moved away: the timer may be early
		fires(9 * time.Second)
		if c.arm(0, 0); c.armed != 0 {
			t.Errorf("armed for %v without a deadline", c.armed)
		}
	})
}

// The time stands still until the next tick.
func TestTheClockStandsStillDuringATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(func() {})
		defer c.stop()
		<-time.After(time.Second)
		if c.now != 0 {
			t.Errorf("it is %v before the tick", c.now)
		}
		if c.tick(); c.now != time.Second || c.since(time.Now()) != time.Second {
			t.Errorf("it is %v, and now is %v", c.now, c.since(time.Now()))
		}
	})
}
