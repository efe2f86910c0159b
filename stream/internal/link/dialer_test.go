package link

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestARoundBeginsAtTheLastGoodEndpoint(t *testing.T) {
	f := &fakeNet{refused: map[string]error{"a:1883": errRefused}, serve: answer(accept()...)}
	d := newTestDialer(t, f, nil, "mqtt://a", "mqtt://b", "mqtt://c")
	for range 2 {
		c, err := d.Dial(t.Context(), Request{Number: 1})
		if err != nil {
			t.Fatal(err)
		}
		if c.Endpoint != "mqtt://b:1883" {
			t.Errorf("connected to %s", c.Endpoint)
		}
		c.Abort()
	}
	if want := []string{"a:1883", "b:1883", "b:1883"}; !slices.Equal(f.dialed, want) {
		t.Errorf("dialed %v, want %v", f.dialed, want)
	}
	f.refused["b:1883"] = errRefused
	if c, err := d.Dial(t.Context(), Request{Number: 1}); err != nil || c.Endpoint != "mqtt://c:1883" {
		t.Errorf("%v, %v", c, err)
	} else {
		c.Abort()
	}
}

func TestAFailedRoundNamesEachEndpoint(t *testing.T) {
	f := &fakeNet{refused: map[string]error{"a:1883": errRefused, "b:1883": errors.New("no route")}}
	_, err := newTestDialer(t, f, nil, "mqtt://a", "mqtt://b").Dial(t.Context(), Request{Number: 1})
	if want := "mqtt: mqtt://a:1883: refused; mqtt://b:1883: no route"; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %q", err, want)
	}
	if !errors.Is(err, errRefused) {
		t.Error("the reasons are not wrapped")
	}
}

// Without an answer the attempt ends with ConnectTimeout, which names itself, and the connection is
// closed.
func TestConnectTimeoutEndsAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan time.Time, 1)
		f := &fakeNet{serve: func(c net.Conn) {
			buffer := make([]byte, 100)
			for {
				if _, err := c.Read(buffer); err != nil {
					closed <- time.Now()
					return
				}
			}
		}}
		began := time.Now()
		_, err := newTestDialer(t, f, func(c *Config) { c.ConnectTimeout = 3 * time.Second }, "mqtt://a").Dial(t.Context(), Request{Number: 1})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "ConnectTimeout (3s)") {
			t.Errorf("the error is %v", err)
		}
		if took := (<-closed).Sub(began); took != 3*time.Second {
			t.Errorf("closed after %v", took)
		}
	})
}

// The client closes the connection itself, so that close is not part of the error.
func TestTheErrorOfConnectTimeoutIsNotThatOfAClosedConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	sockets := func(c *Config) { c.DialContext = new(net.Dialer).DialContext }
	pipes := func(*Config) {}
	for name, over := range map[string]func(*Config){"a socket": sockets, "a pipe": pipes} {
		f := &fakeNet{serve: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }}
		_, err := newTestDialer(t, f, func(c *Config) {
			c.ConnectTimeout = 20 * time.Millisecond
			over(c)
		}, "mqtt://"+listener.Addr().String()).Dial(t.Context(), Request{Number: 1})
		if want := "mqtt: no connection within ConnectTimeout (20ms): context deadline exceeded"; err == nil || err.Error() != want {
			t.Errorf("%s: the error is %v, want %s", name, err, want)
		}
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the error wraps %#v", name, err)
		}
	}
}

func TestTheEndOfTheContextEndsAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		f := &fakeNet{serve: func(c net.Conn) {
			c.Read(make([]byte, 100))
			cancel(errRefused)
			c.Read(make([]byte, 100)) // until the connection is closed
		}}
		if _, err := newTestDialer(t, f, nil, "mqtt://a").Dial(ctx, Request{Number: 1}); !errors.Is(err, errRefused) {
			t.Errorf("the error is %v", err)
		}
	})
}
