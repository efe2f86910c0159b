package streamtest

import (
	"sync"
	"time"
)

// deadline is a time at which calls that wait must look again: the read deadline or the write
// deadline of one end, or the arrival of bytes on a slow line. It arms a timer only while a call
// waits, and only if the current timer would fire too late. So a program may set a deadline before
// each call at no further cost.
type deadline struct {
	cond *sync.Cond // its lock guards all fields

	at    time.Time // zero: none
	timer *time.Timer
	armed time.Time // when timer fires; zero: not armed
}

// set changes the deadline. Waiting calls wake and check the new deadline.
func (d *deadline) set(at time.Time) {
	d.cond.L.Lock()
	defer d.cond.L.Unlock()
	d.at = at
	d.cond.Broadcast()
}

func (d *deadline) passed() bool {
	return !d.at.IsZero() && !time.Now().Before(d.at)
}

// wait returns when the condition is signaled or the deadline passes. The caller holds the lock and
// checks its condition again.
func (d *deadline) wait() {
	d.arm()
	d.cond.Wait()
}

// arm makes the timer fire at the deadline, or earlier. The caller holds the lock and waits
// afterwards.
func (d *deadline) arm() {
	if d.at.IsZero() || !d.armed.IsZero() && !d.armed.After(d.at) {
		return
	}
	d.armed = d.at
	if d.timer != nil {
		d.timer.Reset(time.Until(d.at))
		return
	}
	d.timer = time.AfterFunc(time.Until(d.at), func() {
		d.cond.L.Lock()
		defer d.cond.L.Unlock()
		// If the deadline is later by now, a call that still waits arms the timer again.
		d.armed = time.Time{}
		d.cond.Broadcast()
	})
}

// stop releases the timer when this end of the connection closes. The caller holds the lock.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.armed = time.Time{}
}
