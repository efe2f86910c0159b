package integration

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/jpillora/backoff"
)

// patience is how long anything is waited for that must come.
const patience = 30 * time.Second

// within returns a context that ends the test rather than let it hang.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dial returns a client that is connected. It is closed at the end of the test.
func dial(t *testing.T, url string, o mqtt.Options) *mqtt.Client {
	t.Helper()
	c, err := mqtt.Dial(within(t), url, withLog(t, o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

var logPackets = flag.Bool("packets", false, "log the packets of every client")

func withLog(t *testing.T, o mqtt.Options) *mqtt.Options {
	level := slog.LevelInfo
	if *logPackets {
		level = slog.LevelDebug
	}
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})).With("who", o.ClientID)
	return &o
}

// soon reconnects without much delay.
func soon() *backoff.Backoff {
	return &backoff.Backoff{Min: 10 * time.Millisecond, Max: 200 * time.Millisecond, Jitter: true}
}

func publish(t *testing.T, c *mqtt.Client, messages ...mqtt.Message) {
	t.Helper()
	for _, m := range messages {
		if err := c.Publish(within(t), m); err != nil {
			t.Fatalf("publish %s: %v", m.Topic, err)
		}
	}
}

// routed returns when the broker is done with what publisher has sent: until then a
// session that begins or is taken over may get it twice or not at all. What is sent at
// QoS 0 is only on its way, and mochi acknowledges the rest first; it deals with one
// message of a client after the other.
func routed(t *testing.T, publisher *mqtt.Client) {
	t.Helper()
	publish(t, publisher, text("nowhere", "", 1))
}

func subscribe(t *testing.T, c *mqtt.Client, filters ...mqtt.Filter) *mqtt.Subscription {
	t.Helper()
	s, err := c.Subscribe(within(t), filters...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// next returns the next value of a channel, which must come.
func next[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return v
	case <-time.After(patience):
		t.Fatal("nothing comes")
	}
	panic("unreachable")
}

// until takes values from a channel up to one that suits.
func until[T any](t *testing.T, ch <-chan T, suits func(T) bool) T {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case v, ok := <-ch:
			if !ok {
				t.Fatal("the channel is closed")
			}
			if suits(v) {
				return v
			}
		case <-timeout:
			t.Fatal("what was waited for does not come")
		}
	}
}

// ends waits for the end of a client.
func ends(t *testing.T, c *mqtt.Client) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("the client does not end")
	}
}

func text(topic, payload string, q mqtt.QoS) mqtt.Message {
	return mqtt.Message{Topic: topic, Payload: []byte(payload), QoS: q}
}

// expect takes the next message and checks all of it.
func expect(t *testing.T, ch <-chan mqtt.Message, want mqtt.Message) {
	t.Helper()
	m := next(t, ch)
	if m.Topic != want.Topic || string(m.Payload) != string(want.Payload) || m.QoS != want.QoS || m.Retain != want.Retain {
		t.Fatalf("got %s, want %s", show(m), show(want))
	}
}

func show(m mqtt.Message) string {
	s := m.Topic + " QoS " + string('0'+rune(m.QoS)) + " " + string(m.Payload)
	if m.Retain {
		s += " (retained)"
	}
	return s
}

// A wire is a network that can be cut.
type wire struct {
	dialer net.Dialer

	mu    sync.Mutex
	conn  net.Conn // the newest
	dials int
	down  bool
}

var errDown = errors.New("the wire is down")

// DialContext is for Options.
func (w *wire) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	w.dials++
	down := w.down
	w.mu.Unlock()
	if down {
		return nil, errDown
	}
	conn, err := w.dialer.DialContext(ctx, network, addr)
	if err == nil {
		w.mu.Lock()
		w.conn = conn
		w.mu.Unlock()
	}
	return conn, err
}

// cut ends the connection without a word to either side.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		if tcp, ok := w.conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		w.conn.Close()
	}
}

// setDown has every later dial fail, or not.
func (w *wire) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}
