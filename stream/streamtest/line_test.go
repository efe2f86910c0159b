package streamtest

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

func TestASlowLinePassesSegmentsAtItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(-1)
		defer a.Close()
		defer b.Close()
		start := time.Now()
		a.SetRate(1000)
		write(t, a, strings.Repeat("x", 2000)) // segments of 1460 and 540 bytes
		write(t, a, "y")                       // a segment of its own
		_ = a.CloseWrite()
		for _, want := range []struct {
			n  int
			at time.Duration
		}{{1460, 1460 * time.Millisecond}, {540, 2 * time.Second}, {1, 2001 * time.Millisecond}} {
			if got := read2k(t, b); len(got) != want.n || time.Since(start) != want.at {
				t.Errorf("read %d bytes at +%v, want %d at +%v", len(got), time.Since(start), want.n, want.at)
			}
		}
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the last byte: %v", err)
		}
	})
}

func TestASlowLineThatRestedStartsFromTheNextWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(0)
		defer a.Close()
		defer b.Close()
		a.SetRate(1000)
		write(t, a, "12345")
		elapse(time.Second)
		start := time.Now()
		write(t, a, "6789")
		if got := read(t, b); got != "12345" || time.Since(start) != 0 {
			t.Errorf("read %q at +%v", got, time.Since(start))
		}
		if got := read(t, b); got != "6789" || time.Since(start) != 4*time.Millisecond {
			t.Errorf("read %q at +%v", got, time.Since(start))
		}
	})
}

func TestBytesDoNotOvertakeWhenASlowLineBecomesFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(0)
		defer a.Close()
		defer b.Close()
		start := time.Now()
		a.SetRate(10)
		write(t, a, "slow ")
		a.SetRate(0)
		write(t, a, "fast")
		if got := read(t, b); got != "slow fast" || time.Since(start) != 500*time.Millisecond {
			t.Errorf("read %q at +%v", got, time.Since(start))
		}
		write(t, a, "now")
		if got := read(t, b); got != "now" || time.Since(start) != 500*time.Millisecond {
			t.Errorf("read %q at +%v", got, time.Since(start))
		}
	})
}

func TestAWriteToASlowLineWaitsForRoomInTheBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(1000)
		defer b.Close()
		start := time.Now()
		a.SetRate(1000)
		go func() { _, _ = io.Copy(io.Discard, b) }()
		write(t, a, strings.Repeat("x", 3000))
		if d := time.Since(start); d != 2*time.Second { // the last 1000 bytes are in the buffer
			t.Errorf("the write took %v", d)
		}
		_ = a.Close()
	})
}

func TestAReadDeadlineHoldsOnASlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(0)
		defer a.Close()
		defer b.Close()
		start := time.Now()
		a.SetRate(1)
		write(t, a, "xy")
		_ = b.SetReadDeadline(start.Add(time.Second))
		if _, err := b.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v at +%v", err, time.Since(start))
		}
		_ = b.SetReadDeadline(start.Add(time.Minute))
		if got := read(t, b); got != "xy" || time.Since(start) != 2*time.Second {
			t.Errorf("read %q at +%v", got, time.Since(start))
		}
	})
}

func TestRateSlowsBothDirectionsOfAScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(t, Rate(10, 100))
		cl := dial(t, b)
		c := b.Accept()
		start := time.Now()
		cl.send(frames.Pingreq{}) // 2 bytes
		c.ExpectNone()
		c.Expect(frames.Pingreq{})
		if d := time.Since(start); d != 200*time.Millisecond {
			t.Errorf("PINGREQ took %v", d)
		}
		c.Send(frames.Pingresp{})
		cl.expect(frames.Pingresp{})
		if d := time.Since(start); d != 220*time.Millisecond {
			t.Errorf("PINGRESP arrived at +%v", d)
		}
		c.SetRate(0, 0)
		cl.send(frames.Pingreq{})
		c.Expect(frames.Pingreq{})
		if d := time.Since(start); d != 220*time.Millisecond {
			t.Errorf("the second PINGREQ arrived at +%v", d)
		}
	})
}

func TestSendWaitsForTheClientWithASendBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(t, SendBuffer(100))
		cl := dial(t, b)
		c := b.Accept()
		start := time.Now()
		big := pub("a", strings.Repeat("x", 1000), 0, 0)
		done := make(chan struct{})
		go func() {
			defer close(done)
			elapse(time.Minute)
			cl.expect(big)
		}()
		c.Send(big)
		<-done
		if d := time.Since(start); d != time.Minute {
			t.Errorf("sent after %v", d)
		}
	})
}

func TestSendFailsWhenTheClientDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := failureOf(t, func(tb testing.TB) {
			b := New(tb, SendBuffer(100), Timeout(time.Minute))
			dial(t, b)
			b.Accept().SendBytes(make([]byte, 101))
		})
		if want := "connection 1 at +1m0s: wanted to send 101 bytes, but the client does not read; 100 bytes are unread"; !strings.Contains(got, want) {
			t.Errorf("failure: %q", got)
		}
	})
}

// read2k does one Read of at most 2,000 bytes.
func read2k(t *testing.T, c io.Reader) []byte {
	t.Helper()
	p := make([]byte, 2000)
	n, err := c.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	return p[:n]
}
