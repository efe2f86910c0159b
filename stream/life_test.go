package stream

import (
	"errors"
	"net"
	"testing"
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
	if !isClosed(l.closing) || !isClosed(l.intakeEnds) || isClosed(l.ending) || isClosed(l.done) {
		t.Error("close and endIntake close their own levels and no other")
	}
}

func TestNoHelperStartsAfterTheirEnd(t *testing.T) {
	l := newLife()
	begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	if !l.start(func() { close(begun); <-release }) {
		t.Fatal("a helper did not start")
	}
	<-begun
	go func() { l.endHelpers(); close(ended) }()
	for l.start(func() {}) { // until endHelpers has begun
	}
	if isClosed(ended) {
		t.Error("endHelpers did not wait for the helper that runs")
	}
	close(release)
	<-ended
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
