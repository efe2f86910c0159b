package link

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A slowConn takes one byte for each pause. After stop bytes it takes nothing.
type slowConn struct {
	net.Conn
	pause    time.Duration
	stop     int
	taken    int
	deadline time.Time
	closed   chan struct{}
}

func (c *slowConn) Write(p []byte) (n int, err error) {
	for range p {
		wait := c.pause
		if c.taken >= c.stop {
			wait = time.Hour
		}
		var expired <-chan time.Time
		if !c.deadline.IsZero() {
			expired = time.After(time.Until(c.deadline))
		}
		select {
		case <-time.After(wait):
			c.taken++
			n++
		case <-expired:
			return n, os.ErrDeadlineExceeded
		case <-c.closed:
			return n, net.ErrClosed
		}
	}
	return n, nil
}

func (c *slowConn) SetWriteDeadline(t time.Time) error { c.deadline = t; return nil }

func (c *slowConn) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return nil
}

func slow(pause time.Duration, stop int) *slowConn {
	return &slowConn{pause: pause, stop: stop, closed: make(chan struct{})}
}

// limited returns a connection over raw, which writes MQTT packets, and the part that limits
// writes.
func limited(raw net.Conn, timeout time.Duration) (packets *Conn, c *deadlineConn) {
	packets = &Conn{raw: deadlineConn{Conn: raw, timeout: timeout}}
	packets.Conn = &packets.raw
	return packets, &packets.raw
}

// WriteTimeout bounds a write that makes no progress, however long one takes that does.
func TestProgressRenewsTheWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw := slow(700*time.Millisecond, 20)
		_, c := limited(raw, time.Second)
		began := time.Now()
		if n, err := c.Write(make([]byte, 20)); n != 20 || err != nil {
			t.Errorf("wrote %d after %v: %v", n, time.Since(began), err)
		}
		if !raw.deadline.IsZero() {
			t.Error("the deadline stays behind the write")
		}
		began = time.Now()
		if n, err := c.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("wrote %d after %v: %v", n, time.Since(began), err)
		}
	})
}

// The last writes and the wait for the broker have a second together, from the first of these
// writes on.
func TestClosingHasOneSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw := slow(400*time.Millisecond, 100)
		packets, c := limited(raw, time.Minute)
		c.startClosing()
		<-time.After(5 * time.Second) // a slow commit comes before
		began := time.Now()
		if n, err := packets.Write(make([]byte, 10)); n != 2 || err == nil || time.Since(began) != closeLimit {
			t.Errorf("wrote %d in %v: %v", n, time.Since(began), err)
		}
		<-raw.closed
		if took := time.Since(began); took != closeLimit || !c.isClosing() {
			t.Errorf("closed after %v", took)
		}
		if c.SetWriteDeadline(time.Now().Add(time.Hour)); time.Until(raw.deadline) > 0 {
			t.Error("TLS moved the deadline past the limit")
		}
	})
}

// The writes after a slow commit have a second of their own, even if a write has ended before the
// commit.
func TestClosingBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw := slow(400*time.Millisecond, 100)
		packets, c := limited(raw, 0)
		go packets.Write([]byte("x"))
		synctest.Wait()
		c.startClosing()
		<-time.After(600 * time.Millisecond)
		c.startClosing()
		<-time.After(5 * time.Second)
		if n, err := c.Write([]byte("p")); n != 1 || err != nil {
			t.Errorf("the first limit reaches a pong after the second: %d, %v", n, err)
		}
		began := time.Now()
		if n, err := packets.Write(make([]byte, 10)); n != 2 || err == nil || time.Since(began) != closeLimit {
			t.Errorf("wrote %d in %v: %v", n, time.Since(began), err)
		}
	})
}

// A pong of the WebSocket, or a message of TLS, comes while a slow commit holds up the last
// packets. It does not begin their second, and has the ordinary timeout itself.
func TestAPongDoesNotBeginTheLastSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw := slow(400*time.Millisecond, 13)
		packets, c := limited(raw, 2*time.Second)
		go c.Write(make([]byte, 3)) // under way when the end begins
		synctest.Wait()
		c.startClosing()
		<-time.After(time.Minute)
		if n, err := c.Write(make([]byte, 8)); n != 8 || err != nil || !raw.deadline.IsZero() {
			t.Errorf("wrote %d: %v; the deadline is %v", n, err, raw.deadline)
		}
		began := time.Now()
		if n, err := packets.Write(make([]byte, 10)); n != 2 || err == nil || time.Since(began) != closeLimit {
			t.Errorf("wrote %d in %v: %v", n, time.Since(began), err)
		}
		<-raw.closed
	})
}

// The wait for a broker that does not close its side ends, even if no packet was written.
func TestTheWaitForTheBrokerIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw := slow(time.Millisecond, 100)
		c, _ := limited(raw, 0)
		c.LimitClose()
		began := time.Now()
		c.CloseWrite()
		<-raw.closed
		if took := time.Since(began); took != closeLimit {
			t.Errorf("closed after %v", took)
		}
	})
}

func TestAnOrderlyCloseStopsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw := slow(time.Millisecond, 100)
		packets, c := limited(raw, 0)
		c.startClosing()
		packets.Write([]byte("x"))
		c.stopClosing()
		<-time.After(2 * closeLimit)
		if isDone(raw.closed) {
			t.Error("the limit closed a connection that had ended")
		}
	})
}

func isDone(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
