package streamtest

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadlineEndsAReadThatWaits(t *testing.T) {
	tests := []struct {
		name   string
		before time.Duration // deadline set before Read; 0: none
		then   func(c *PipeConn, start time.Time)
		after  time.Duration // time until Read returns
	}{
		{"set before", time.Second, func(*PipeConn, time.Time) {}, time.Second},
		{"set while it waits", 0, func(c *PipeConn, start time.Time) {
			_ = c.SetReadDeadline(start.Add(2 * time.Second))
		}, 2 * time.Second},
		{"moved nearer", time.Hour, func(c *PipeConn, start time.Time) {
			_ = c.SetDeadline(start.Add(time.Second))
		}, time.Second},
		{"moved away", time.Second, func(c *PipeConn, start time.Time) {
			_ = c.SetReadDeadline(start.Add(time.Hour))
		}, time.Hour},
		{"moved into the past", time.Hour, func(c *PipeConn, start time.Time) {
			_ = c.SetReadDeadline(start.Add(-time.Second))
		}, 0},
		{"removed and set again", time.Second, func(c *PipeConn, start time.Time) {
			_ = c.SetReadDeadline(time.Time{})
			synctest.Wait()
			_ = c.SetReadDeadline(start.Add(3 * time.Second))
		}, 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, other := Pipe(0)
				defer c.Close()
				defer other.Close()
				start := time.Now()
				if tt.before > 0 {
					_ = c.SetReadDeadline(start.Add(tt.before))
				}
				done := make(chan error)
				go func() {
					_, err := c.Read(make([]byte, 1))
					done <- err
				}()
				synctest.Wait()
				tt.then(c, start)
				if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Read ended with %v", err)
				}
				if d := time.Since(start); d != tt.after {
					t.Errorf("after %v, want %v", d, tt.after)
				}
			})
		})
	}
}

func TestPastDeadlineFailsReadyReadsAndWrites(t *testing.T) {
	a, b := Pipe(0)
	defer a.Close()
	defer b.Close()
	if _, err := b.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = a.SetDeadline(time.Now().Add(-1))
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v", err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write: %v", err)
	}
	_ = a.SetDeadline(time.Time{})
	if n, err := a.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("Read without the deadline: %d, %v", n, err)
	}
}

func TestDeadlineTellsHowMuchAWriteGotRidOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(10)
		defer a.Close()
		defer b.Close()
		start := time.Now()
		_ = a.SetWriteDeadline(start.Add(time.Second))
		n, err := a.Write(make([]byte, 15))
		if n != 10 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Write: %d, %v after %v", n, err, time.Since(start))
		}
		var timeout interface{ Timeout() bool }
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%v is not a timeout", err)
		}
	})
}

func TestDeadlinesBeforeEachCallAllocateNothing(t *testing.T) {
	a, b := Pipe(0)
	defer a.Close()
	defer b.Close()
	p := make([]byte, 100)
	n := testing.AllocsPerRun(1000, func() {
		_ = a.SetWriteDeadline(time.Now().Add(time.Minute))
		_, _ = a.Write(p)
		_ = b.SetReadDeadline(time.Now().Add(time.Minute))
		_, _ = b.Read(p)
	})
	if n != 0 {
		t.Errorf("%v allocations for a write and a read", n)
	}
}
