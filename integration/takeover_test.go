package integration

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/jpillora/backoff"
)

// N3: a takeover looks like a connection closed without a reason.
func TestATakenOverClientSaysSo(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		first := dial(t, b.url, mqtt.Options{Version: v, ClientID: "twin", NoReconnect: true})
		states := first.States(within(t))
		second := dial(t, b.url, mqtt.Options{Version: v, ClientID: "twin"})
		if s := until(t, states, func(s mqtt.State) bool { return !s.Online }); s.Err == nil {
			t.Error("the state after the takeover has no error")
		}
		ends(t, first)
		if first.Err() == nil {
			t.Error("the client that was taken over ended without an error")
		}
		if err := second.Publish(within(t), text("twin", "lives", 2)); err != nil {
			t.Error(err)
		}
	})
}

// R3: two clients with one identifier disconnect each other for ever. No connection lasts, so the
// intervals grow, and the broker has little work. (mochi keeps both if they connect at the same
// moment.)
func TestTwinsDoNotFightAtFullSpeed(t *testing.T) {
	withMosquitto(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		const first, rounds = 100 * time.Millisecond, 4
		start := time.Now()
		var dials [2]chan time.Duration
		for i := range dials {
			dials[i] = make(chan time.Duration, 1000)
			c, err := mqtt.Open(b.url, withLog(t, mqtt.Options{Version: v, ClientID: "twin",
				Reconnect: &backoff.Backoff{Min: first, Max: 10 * time.Second, Factor: 2}, // without Jitter the intervals are exact
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					dials[i] <- time.Since(start)
					return new(net.Dialer).DialContext(ctx, network, addr)
				}}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
		}
		// The two clients have been disconnected equally often, or one of them once more.
		for _, d := range dials {
			var at time.Duration
			for range rounds + 1 {
				at = next(t, d)
			}
			if least := first * (1<<rounds - 1); at < least {
				t.Errorf("attempt %d came after %v; the intervals before it are %v", rounds+1, at, least)
			}
		}
	})
}
