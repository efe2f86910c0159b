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

// patience limits every wait for an expected event.
const patience = 30 * time.Second

// within returns a context that ends after patience, so that a test cannot hang.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dial returns a connected client, which is closed at the end of the test.
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

// soon returns a back-off with short intervals.
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

// routed returns when the broker has routed all messages of publisher. Before that, a session that
// begins or is taken over may get a message twice or not at all. The acks of these messages do not
// show it, because QoS 0 has no ack and mochi acknowledges before it routes. Therefore routed
// publishes one more message. A broker routes the messages of one client in order, so the ack of
// the last message shows that the others were routed.
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

// next returns the next value of a channel. If no value comes, it fails the test.
func next[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return v
	case <-time.After(patience):
		t.Fatal("no value came")
	}
	panic("unreachable")
}

// until receives from a channel until a value suits, and returns that value.
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
			t.Fatal("the expected value did not come")
		}
	}
}

// ends waits until a client is closed.
func ends(t *testing.T, c *mqtt.Client) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("the client did not end")
	}
}

func text(topic, payload string, q mqtt.QoS) mqtt.Message {
	return mqtt.Message{Topic: topic, Payload: []byte(payload), QoS: q}
}

// expect receives the next message and compares it with want.
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
	conn  net.Conn // connection of the last dial
	dials int
	down  bool
}

var errDown = errors.New("the wire is down")

// DialContext is a function for Options.DialContext.
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

// cut resets the connection.
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

// setDown makes later dials fail, or lets them succeed again.
func (w *wire) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}
