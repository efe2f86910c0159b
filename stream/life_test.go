package stream

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestCloseAndTheEndOfTheIntakeComeOnce(t *testing.T) {
	l := newLife()
	for range 2 {
		l.close()
		l.endIntake()
	}
	if !l.closing.Load() || l.intakeEnds.wait() != nil || isClosed(l.ending.passed()) || isClosed(l.done.passed()) {
		t.Error("close and endIntake close their own levels and no other")
	}
}

func TestNoHelperStartsAfterTheirEnd(t *testing.T) {
	l := newLife()
	begun := make(chan struct{})
	if !l.start(feeder, func() { close(begun) }) {
		t.Fatal("a helper did not start")
	}
	<-begun
	l.endHelpers()
	if l.start(feeder, func() { t.Error("a helper runs") }) {
		t.Error("a helper started")
	}
	if n := l.await(feeder); n != 0 {
		t.Errorf("%d helpers still run", n)
	}
}

// A helper that runs code of the user may never end.
func TestTheEndWaitsForHelpersOfOneKindForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, began, release := newLife(), time.Now(), make(chan struct{})
		l.start(feeder, func() { time.Sleep(time.Second / 2) })
		l.start(stageHelper, func() { <-release })
		if n := l.await(feeder); n != 0 || time.Since(began) != time.Second/2 {
			t.Errorf("%d feeders run after %v", n, time.Since(began))
		}
		if n := l.await(stageHelper); n != 1 || time.Since(began) != 3*time.Second/2 {
			t.Errorf("%d stages run after %v", n, time.Since(began))
		}
		close(release)
	})
}

func TestTheReasonOfTheEndIsInErrClosed(t *testing.T) {
	l := newLife()
	if l.Err() != nil || l.closed() != ErrClosed {
		t.Errorf("a session that was closed ends with %v and %v", l.Err(), l.closed())
	}
	reason := errors.New("mqtt: the disk is full")
	l.fail(reason)
	err := l.closed()
	if !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) || !errors.Is(err, reason) || l.Err() != reason {
		t.Errorf("the error is %v", err)
	}
	if want := "mqtt: client closed: the disk is full"; err.Error() != want {
		t.Errorf("the text is %q, want %q", err, want)
	}
}

// One wake-up is enough for any number of reasons, and nobody waits for it to be taken.
func TestWakeUpsAddUp(t *testing.T) {
	l := newLife()
	l.wake()
	l.wake()
	<-l.wakeups
	select {
	case <-l.wakeups:
		t.Error("two wake-ups for one turn")
	default:
	}
}
