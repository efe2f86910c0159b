package integration

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// narrow dials connections with a small write buffer.
func narrow(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return conn, err
}

// stick makes the relay stop reading and gives it a small read buffer.
func stick(r *relay) {
	r.state.Store(stuck)
	r.to[down].SetReadBuffer(4 << 10)
}

// fill publishes messages of 64 KiB until no message has been accepted for half a second. It
// returns the number of accepted messages.
func fill(t *testing.T, c *mqtt.Client, receipts chan mqtt.Receipt) int {
	t.Helper()
	m := mqtt.Message{Topic: "large", Payload: make([]byte, 64<<10), QoS: mqtt.AtLeastOnce}
	for n := range cap(receipts) {
		select {
		case c.Publishes() <- mqtt.Publishing{Message: m, Tag: n, Ack: receipts}:
		case <-time.After(500 * time.Millisecond):
			return n
		}
	}
	t.Fatalf("%d messages were accepted although nobody reads", cap(receipts))
	return 0
}

// T5: when a broker stops reading, Publish blocks or ends with its context, the number of waiting
// messages is bounded, and Close returns although the connection accepts no bytes.
func TestABrokerThatStopsReadingHoldsUpNoCall(t *testing.T) {
	withVersions(t, heavy(), setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		const queue = 8
		p := newProxy(t, b, manner{})
		c := dial(t, p.url, mqtt.Options{Version: v, ClientID: "c", Window: 1000, Queue: queue, DialContext: narrow,
			KeepAlive: -1, WriteTimeout: -1}) // so that only Close ends the connection
		p.each(stick)

		receipts := make(chan mqtt.Receipt, 200)
		n := fill(t, c, receipts)
		// The limit covers the batch being written, the waiting batch, the queue, and the network
		// buffers.
		if most := 1 + 1 + queue + 20; n < queue || n > most {
			t.Errorf("%d messages of 64 KiB were accepted, want %d to %d", n, queue, most)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := c.Publish(ctx, text("never", "sent", 1)); !errors.Is(err, mqtt.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Publish: got %v, want ErrNotSent because of the deadline", err)
		}
		began := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("Close took %v; it gives the last writes one second", took)
		}
		for range n {
			if r := next(t, receipts); !errors.Is(r.Err, mqtt.ErrUnconfirmed) && !errors.Is(r.Err, mqtt.ErrNotSent) {
				t.Errorf("receipt %v: got %v, want ErrUnconfirmed or ErrNotSent", r.Tag, r.Err)
			}
		}
	})
}

// T5, T2: WriteTimeout ends the connection, and every accepted publication arrives over a new
// connection.
func TestABrokerThatStopsReadingIsLeft(t *testing.T) {
	withVersions(t, heavy(), setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		p := newProxy(t, b, manner{})
		c := dial(t, p.url, mqtt.Options{Version: v, ClientID: "c", KeepSession: true, Window: 1000, Queue: 8, DialContext: narrow,
			Reconnect: soon(), WriteTimeout: 2 * time.Second})
		states := c.States(within(t))
		p.each(stick)
		receipts := make(chan mqtt.Receipt, 200)
		n := fill(t, c, receipts)
		if s := until(t, states, func(s mqtt.State) bool { return !s.Online }); !errors.Is(s.Err, os.ErrDeadlineExceeded) {
			t.Errorf("lost with %v, want os.ErrDeadlineExceeded after WriteTimeout", s.Err)
		}
		for range n {
			if r := next(t, receipts); r.Err != nil {
				t.Errorf("receipt %v: %v", r.Tag, r.Err)
			}
		}
	})
}
