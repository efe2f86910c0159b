package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"syscall"
	"testing"

	"github.com/go-millrace/mqtt"
)

// N3: the connection breaks off after each byte of a conversation in turn, in either direction,
// both by a reset and as if the broker had closed it. So it breaks before and within CONNACK,
// before SUBACK, and within PUBLISH and every ack. The waiting call and the client then return an
// error that wraps the error of the network.
func TestAnEndAfterAnyByteIsAnError(t *testing.T) {
	withVersions(t, heavy(), setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		p := newProxy(t, b, manner{})
		var total [2]int
		p.set(manner{ends: func() end { return end{after: math.MaxInt} }})
		if err := converse(t, p.url, v, 0, func() {
			p.each(func(r *relay) { total = [2]int{int(r.bytes[up].Load()), int(r.bytes[down].Load())} })
		}); err != nil {
			t.Fatal(err)
		}
		if total[up] < 55 || total[down] < 45 {
			t.Fatalf("only %d bytes were passed on", total)
		}
		n := 0
		for w, bytes := range total {
			for after := range bytes {
				for _, reset := range []bool{false, true} {
					p.set(manner{ends: func() end { return end{way(w), after, reset} }})
					n++
					err := converse(t, p.url, v, n, nil)
					// The client does not wait until it has sent the acks of received messages.
					if err == nil && after < bytes-12 {
						t.Fatalf("way %d, after %d of %d bytes, reset %t: no error", w, after, bytes, reset)
					}
				}
			}
		}
	})
}

// converse connects a client that subscribes, publishes to itself at QoS 1 and 2, and publishes
// once more. The client identifier contains n and so is new, because mochi may not have seen the
// end of earlier clients. On success, converse calls done before the client closes. Otherwise it
// checks the error and returns it.
func converse(t *testing.T, url string, v mqtt.Version, n int, done func()) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := mqtt.Open(url, &mqtt.Options{Version: v, ClientID: fmt.Sprintf("c%03d", n), NoReconnect: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = exchange(ctx, c)
	if err == nil {
		if done != nil {
			done()
		}
		return nil
	}
	ends(t, c)
	for what, err := range map[string]error{"the call": err, "Err": c.Err()} {
		var op *net.OpError
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		reset := errors.As(err, &op) && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
		if !end && !reset {
			t.Errorf("%s: got %v, want the end or the reset of a connection", what, err)
		}
	}
	return err
}

func exchange(ctx context.Context, c *mqtt.Client) (err error) {
	sub, err := c.Subscribe(ctx, mqtt.Filter{Topic: "s", QoS: mqtt.ExactlyOnce})
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		for range sub.Deliveries() { // the client ends when all messages that have arrived were taken
		}
	}()
	for _, q := range levels[1:] {
		if err := c.Publish(ctx, text("s", "p", q)); err != nil {
			if !errors.Is(err, mqtt.ErrUnconfirmed) && !errors.Is(err, mqtt.ErrNotSent) {
				return errors.New("neither ErrUnconfirmed nor ErrNotSent: " + err.Error())
			}
			return err
		}
		select {
		case d, ok := <-sub.Deliveries():
			if !ok {
				return c.Err()
			}
			d.Ack()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return c.Publish(ctx, text("end", "", 1))
}
