package streamtest

import (
	"sync"
	"time"
)

// deadline ends the waits of one direction for one end. It arms a timer only while somebody waits, and only when the
// one it has would not fire in time: connections that set a deadline before each call cost nothing more.
type deadline struct {
	cond *sync.Cond // its lock guards all fields

	at    time.Time // zero: none
	timer *time.Timer
	armed time.Time // when timer fires; zero: not armed
}

// set changes the deadline, for calls that wait already too: they wake and look again.
func (d *deadline) set(at time.Time) {
	d.cond.L.Lock()
	defer d.cond.L.Unlock()
	d.at = at
	d.cond.Broadcast()
}

func (d *deadline) passed() bool {
	return !d.at.IsZero() && !time.Now().Before(d.at)
}

// wait returns after a change that the condition signals, or when the deadline passes. The caller holds the lock and
// looks at everything again.
func (d *deadline) wait() {
	if !d.at.IsZero() && (d.armed.IsZero() || d.armed.After(d.at)) {
		d.arm()
	}
	d.cond.Wait()
}

func (d *deadline) arm() {
	d.armed = d.at
	if d.timer != nil {
		d.timer.Reset(time.Until(d.at))
		return
	}
	d.timer = time.AfterFunc(time.Until(d.at), func() {
		d.cond.L.Lock()
		defer d.cond.L.Unlock()
		// A deadline that has moved on meanwhile is armed again by whoever still waits.
		d.armed = time.Time{}
		d.cond.Broadcast()
	})
}

// stop releases the timer when the end that waits by it is closed. The caller holds the lock.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.armed = time.Time{}
}
