package streamtest

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeTB is a testing.TB that records failures and does not fail the real test.
type fakeTB struct {
	testing.TB

	mu       sync.Mutex
	failures []string
}

func (f *fakeTB) Helper() {}

func (f *fakeTB) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

func (f *fakeTB) failure() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failures) == 0 {
		return ""
	}
	return f.failures[0]
}

// failureOf runs a script and returns its failure, or "".
func failureOf(t *testing.T, script func(tb testing.TB)) string {
	t.Helper()
	f := &fakeTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		script(f)
	}()
	<-done
	return f.failure()
}

// client is a minimal client for a script. Its methods may run on any goroutine, because they
// report a failure with Error, never with Fatal.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *frames.Reader
	v    frames.Version
}

func dial(t *testing.T, b *Broker) *client {
	t.Helper()
	conn, err := b.Dial(context.Background(), "tcp", "broker:1883")
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

func newClient(t *testing.T, conn net.Conn) *client {
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t, conn, frames.NewReader(conn, 0), frames.V311}
}

// at makes the client speak version v.
func (c *client) at(v frames.Version) *client {
	c.v = v
	c.in.SetVersion(v)
	return c
}

func (c *client) send(packets ...frames.Packet) {
	c.t.Helper()
	if _, err := c.conn.Write(encodeAs(c.t, c.v, packets...)); err != nil {
		c.t.Error(err)
	}
}

func encode(t *testing.T, packets ...frames.Packet) []byte {
	t.Helper()
	return encodeAs(t, frames.V311, packets...)
}

func encodeAs(t *testing.T, v frames.Version, packets ...frames.Packet) []byte {
	t.Helper()
	var out []byte
	for _, p := range packets {
		var err error
		if out, err = p.Append(out, v); err != nil {
			t.Error(err)
		}
	}
	return out
}

// next returns nil after a failure.
func (c *client) next() frames.Packet {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
	f, err := frames.ReadFrame(c.in)
	if err != nil {
		c.t.Error(err)
		return nil
	}
	p, err := frames.Parse(f, c.v)
	if err != nil {
		c.t.Error(err)
	}
	return p
}

func (c *client) expect(packets ...frames.Packet) {
	c.t.Helper()
	for _, want := range packets {
		if got := c.next(); describe(got) != describe(want) {
			c.t.Errorf("got %s, want %s", describe(got), describe(want))
			return
		}
	}
}

var hello = frames.Connect{ClientID: "c", CleanSession: true}

func (c *client) handshake() *client {
	c.t.Helper()
	c.send(hello)
	c.expect(frames.Connack{})
	return c
}

// pub makes a PUBLISH.
func pub(topic, payload string, q frames.QoS, id uint16) frames.Publish {
	return frames.Publish{Message: frames.Message{Topic: topic, Payload: []byte(payload), QoS: q}, ID: id}
}

// ack makes an acknowledgment.
func ack(kind frames.Type, id uint16) frames.Ack { return frames.Ack{Kind: kind, ID: id} }

// elapse lets d pass on the bubble's clock.
func elapse(d time.Duration) { <-time.After(d) }
