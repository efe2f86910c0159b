package integration

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/jpillora/backoff"
)

const (
	memberMin = time.Second // minimum of the back-off
	memberMax = 8 * time.Second

	// The client frees its spare memory at PINGRESP. The stopped timer of ConnectTimeout stays in
	// memory until it would have fired.
	memberKeepAlive = 4 * time.Second
	memberConnect   = 3 * time.Second
)

// A member is one of many clients. It records when its connections begin and end.
type member struct {
	client  *mqtt.Client
	idle    chan struct{} // closed at the first PINGRESP
	refused chan struct{} // closed when the first reconnection attempt fails
	next    chan struct{} // closed at the next PINGRESP after awaitPingresp

	mu     sync.Mutex
	awaits bool        // next is open
	dials  []time.Time // start of each attempt
	ends   []time.Time // end of each failed attempt or connection
}

func newMember() *member {
	return &member{idle: make(chan struct{}), refused: make(chan struct{}),
		dials: make([]time.Time, 0, 8), ends: make([]time.Time, 0, 8)}
}

func (m *member) open(t *testing.T, url string) {
	t.Helper()
	c, err := mqtt.Open(url, &mqtt.Options{Version: mqtt.V311, KeepAlive: memberKeepAlive, ConnectTimeout: memberConnect, DialContext: m.dial,
		Reconnect: &backoff.Backoff{Min: memberMin, Max: memberMax, Jitter: true}})
	if err != nil {
		t.Fatal(err)
	}
	m.client = c
}

// dial is a function for Options.DialContext.
func (m *member) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	m.mu.Lock()
	m.dials = append(m.dials, time.Now())
	m.mu.Unlock()
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		m.ended()
		return nil, err
	}
	return &memberConn{TCPConn: conn.(*net.TCPConn), member: m}, nil
}

func (m *member) ended() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ends = append(m.ends, time.Now())
	if len(m.ends) == 2 {
		close(m.refused)
	}
}

// A memberConn is the connection of a member. It signals the events that a test waits for.
type memberConn struct {
	*net.TCPConn
	member *member
	n      int // number of bytes read
}

func (c *memberConn) Read(p []byte) (int, error) {
	const idle = 4 + 4 + 2 // CONNACK, PUBACK, PINGRESP
	n, err := c.TCPConn.Read(p)
	if err != nil {
		c.member.ended()
		return n, err
	}
	if c.n += n; c.n >= idle {
		c.member.pingresp(c.n == idle)
	}
	return n, err
}

// pingresp records that a PINGRESP has come on the first connection.
func (m *member) pingresp(first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ends) > 0 {
		return
	}
	if first {
		close(m.idle)
	}
	if m.awaits {
		close(m.next)
		m.awaits = false
	}
}

// awaitPingresp makes the channel next anew.
func (m *member) awaitPingresp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next, m.awaits = make(chan struct{}), true
}

func (m *member) online(t *testing.T) {
	t.Helper()
	m.wait(t, m.client.Online(), "a client is not online")
}

func (m *member) wait(t *testing.T, ch <-chan struct{}, otherwise string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatal(otherwise)
	}
}

// check verifies that no attempt began too early, and returns the start of the last one.
func (m *member) check(t *testing.T) time.Time {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	interval := memberMin
	for i, end := range m.ends {
		if waited := m.dials[i+1].Sub(end); waited < interval/2 {
			t.Errorf("reconnection attempt %d came after %v, want %v to %v", i+1, waited, interval/2, interval)
		}
		interval = min(2*interval, memberMax)
	}
	return m.dials[len(m.dials)-1]
}
