package streamtest

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestDialReturnsBeforeAccept(t *testing.T) {
	b := New(t)
	one, two := dial(t, b), dial(t, b)
	one.send(hello)
	two.send(hello)
	for range 2 {
		c := b.Accept()
		c.ExpectConnect()
		if network, addr := c.Dialed(); network != "tcp" || addr != "broker:1883" {
			t.Errorf("dialed %s %s", network, addr)
		}
	}
}

func TestDialWaitsWhenNobodyAcceptsForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(t)
		for range backlog {
			dial(t, b)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Dial(ctx, "tcp", "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one too many: %v", err)
		}
		b.Accept()
		if _, err := b.Dial(t.Context(), "tcp", "x"); err != nil {
			t.Errorf("after Accept: %v", err)
		}
	})
}

func TestDialMeetsTheFatesPlannedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(t)
		custom := errors.New("no such host")
		b.Refuse(2, nil)
		b.Refuse(1, custom)
		b.Hold(1)
		wants := []error{syscall.ECONNREFUSED, syscall.ECONNREFUSED, custom, context.DeadlineExceeded, nil}
		for i, want := range wants {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := b.Dial(ctx, "tcp", "x"); !errors.Is(err, want) {
				t.Errorf("dial %d: %v, want %v", i, err, want)
			}
			cancel()
		}
		b.Accept()
	})
}

func TestDialAfterAdmitIsAccepted(t *testing.T) {
	b := New(t)
	b.Refuse(1000, nil)
	if _, err := b.Dial(t.Context(), "tcp", "x"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatal(err)
	}
	b.Admit()
	dial(t, b)
	b.Accept()
}

func TestDialWithAnEndedContextFails(t *testing.T) {
	b := New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Dial(ctx, "tcp", "x")
	var op *net.OpError
	if !errors.Is(err, context.Canceled) || !errors.As(err, &op) {
		t.Errorf("%v", err)
	}
}

func TestDialsAreRecordedWithTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(t)
		start := time.Now()
		b.Refuse(2, nil)
		for i, addr := range []string{"one", "two", "one"} {
			if _, err := b.Dial(t.Context(), "tcp", addr); (err == nil) != (i == 2) {
				t.Errorf("dial %d: %v", i, err)
			}
			elapse(time.Second)
		}
		want := []Dialing{
			{"tcp", "one", start},
			{"tcp", "two", start.Add(time.Second)},
			{"tcp", "one", start.Add(2 * time.Second)},
		}
		if got := b.Dials(); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestCloseEndsConnectionsAndHangingDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(t)
		c := dial(t, b)
		b.Hold(1)
		done := make(chan error)
		go func() {
			_, err := b.Dial(context.Background(), "tcp", "x")
			done <- err
		}()
		synctest.Wait()
		b.Close()
		b.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("hanging dial: %v", err)
		}
		if _, err := c.conn.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("connection: %v", err)
		}
		if _, err := b.Dial(context.Background(), "tcp", "x"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dial after Close: %v", err)
		}
	})
}

func TestAcceptFailsWhenNobodyDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := failureOf(t, func(tb testing.TB) { New(tb).Accept() })
		if !strings.Contains(got, "has not dialed for 1h0m0s") || time.Since(start) != time.Hour {
			t.Errorf("after %v: %q", time.Since(start), got)
		}
		got = failureOf(t, func(tb testing.TB) { New(tb, Timeout(time.Second)).Accept() })
		if !strings.Contains(got, "has not dialed for 1s") {
			t.Errorf("%q", got)
		}
	})
}

func TestExpectNoDialFailsOnADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(t)
		b.ExpectNoDial(time.Minute)
		got := failureOf(t, func(tb testing.TB) {
			b := New(tb)
			dial(t, b)
			b.ExpectNoDial(time.Minute)
		})
		if !strings.Contains(got, "the client dialed broker:1883") {
			t.Errorf("%q", got)
		}
	})
}
