//go:build !js

package link

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A recorder is the far side of a pongConn. Its reads wait until it is closed.
type recorder struct {
	net.Conn
	during func() // called in each Write
	fail   error  // the result of each Write, after three bytes
	closed chan struct{}

	mu     sync.Mutex
	frames [][]byte
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.during != nil {
		r.during()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		p = p[:3]
	}
	r.frames = append(r.frames, bytes.Clone(p))
	return len(p), r.fail
}

// take returns the frames written since the last call.
func (r *recorder) take() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	frames := r.frames
	r.frames = nil
	return frames
}

func (r *recorder) Read([]byte) (int, error) { <-r.closed; return 0, net.ErrClosed }
func (r *recorder) Close() error             { close(r.closed); return nil }

// clientFrame returns a masked binary frame with n bytes (RFC 6455, section 5.2).
func clientFrame(n int) []byte {
	p := []byte{0x82, 0x80 | byte(n)}
	if n > 125 {
		p = []byte{0x82, 0x80 | 126, byte(n >> 8), byte(n)}
	}
	return append(p, make([]byte, 4+n)...)
}

func TestAWholeFrameIsToldFromAPart(t *testing.T) {
	for n := range frameBytes + 1 {
		p := clientFrame(n)
		if !isFrame(p) || isFrame(p[:len(p)-1]) || isFrame(append(p, 0)) || isCloseFrame(p) {
			t.Fatalf("a frame of %d bytes", n)
		}
	}
	for _, p := range [][]byte{nil, {0x82}, {0x82, 0x80 | 126}, {0x82, 0x80 | 126, 1}, {0x82, 0x80 | 127}} {
		if isFrame(p) {
			t.Errorf("% x is no whole frame", p)
		}
	}
}

func TestNoPongIsSentWhereItWouldBreakTheStream(t *testing.T) {
	for name, row := range map[string]struct {
		before func(*pongConn)
		pongs  int
	}{
		"between reads":         {func(*pongConn) {}, 12},
		"after a frame":         {func(c *pongConn) { c.Write(clientFrame(3000)) }, 12},
		"inside a frame":        {func(c *pongConn) { c.Write(clientFrame(3000)[:2000]) }, 0},
		"after the close frame": {func(c *pongConn) { c.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 3, 232}) }, 0},
		"after a frame that failed": {func(c *pongConn) {
			c.Conn.(*recorder).fail = io.ErrShortWrite
			c.Write(clientFrame(10))
			c.Conn.(*recorder).fail = nil
		}, 0},
		"while a read waits":        {func(c *pongConn) { go c.Read(nil) }, 0},
		"after the connection ends": {func(c *pongConn) { c.Close() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{closed: make(chan struct{})}
				c := newPongConn(r)
				c.start()
				row.before(c)
				synctest.Wait()
				r.take()
				<-time.After(time.Minute + 1)
				synctest.Wait()
				frames := r.take()
				if len(frames) != row.pongs {
					t.Fatalf("%d frames, want %d", len(frames), row.pongs)
				}
				for _, p := range frames {
					if len(p) != 6 || p[0] != 0x8a || p[1] != 0x80 {
						t.Errorf("% x is no pong", p)
					}
				}
				if name != "after the connection ends" {
					c.Close()
				}
			})
		})
	}
}

// A pong under way when a read begins is the last one.
func TestAReadDuringAPongEndsThePongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{closed: make(chan struct{})}
		c := newPongConn(r)
		var once sync.Once
		r.during = func() {
			once.Do(func() {
				go c.Read(nil)
				time.Sleep(time.Millisecond) // until the read waits
			})
		}
		c.start()
		<-time.After(time.Minute)
		synctest.Wait()
		if n := len(r.take()); n != 1 {
			t.Errorf("%d pongs", n)
		}
		c.Close()
	})
}

// A pong that was written in part ends the connection, since a frame after it would be misread.
func TestNothingIsWrittenAfterAPongThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{closed: make(chan struct{}), fail: io.ErrShortWrite}
		c := newPongConn(r)
		defer c.Close()
		c.start()
		<-time.After(time.Minute)
		synctest.Wait()
		r.fail = nil
		if _, err := c.Write(clientFrame(10)); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("the error of Write is %v", err)
		}
		if n := len(r.take()); n != 1 {
			t.Errorf("%d writes", n)
		}
	})
}

// A slow consumer reads now and then, but the server's pings may lie behind many messages.
func TestAReadDoesNotPostponeAPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{closed: make(chan struct{})}
		c := newPongConn(readable{r})
		defer c.Close()
		c.start()
		for range 60 {
			c.Read(nil)
			<-time.After(time.Second)
		}
		synctest.Wait()
		if n := len(r.take()); n != 12 {
			t.Errorf("%d pongs in a minute", n)
		}
	})
}

// A readable is a recorder whose reads do not wait.
type readable struct{ *recorder }

func (readable) Read([]byte) (int, error) { return 0, nil }

// An idle client waits in Read, and must not wake up for a timer.
func TestAReadThatWaitsLeavesTheTimerOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{closed: make(chan struct{})}
		c := newPongConn(r)
		defer c.Close()
		c.start()
		go c.Read(nil)
		<-time.After(time.Minute)
		if c.armed.Load() || c.timer.Stop() {
			t.Error("the timer runs")
		}
	})
}
