package integration

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/jpillora/backoff"
)

// R1: when a broker restarts, its clients reconnect one after another, because each client waits
// for a random time in the upper half of its interval. (A test in package stream brings back 500
// clients in a bubble, where times are exact.)
func TestAFleetComesBackSpreadOut(t *testing.T) {
	withMosquitto(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		const fleet, interval = 100, time.Second
		var mu sync.Mutex
		dials := make([][]time.Time, fleet)
		clients := make([]*mqtt.Client, fleet)
		for i := range clients {
			clients[i] = dial(t, b.url, mqtt.Options{Version: v, ClientID: fmt.Sprintf("fleet%d", i),
				Reconnect: &backoff.Backoff{Min: interval, Max: interval, Jitter: true},
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					mu.Lock()
					dials[i] = append(dials[i], time.Now())
					mu.Unlock()
					return new(net.Dialer).DialContext(ctx, network, addr)
				}})
		}
		b.process.terminate()
		gone := make([]time.Time, fleet)
		for i, c := range clients {
			ctx, cancel := context.WithCancel(within(t))
			gone[i] = until(t, c.States(ctx), func(s mqtt.State) bool { return !s.Online }).Since
			cancel()
		}
		b.process.restart()
		for _, c := range clients {
			select {
			case <-c.Online():
			case <-time.After(patience):
				t.Fatal("not all clients came back")
			}
		}

		mu.Lock()
		defer mu.Unlock()
		var waits []time.Duration
		for i, d := range dials {
			wait := d[1].Sub(gone[i])
			if wait < interval/2-10*time.Millisecond {
				t.Errorf("client %d came back after %v", i, wait)
			}
			waits = append(waits, wait)
		}
		slices.Sort(waits)
		// The waits are spread over half a second; the limits allow for chance and a busy machine.
		if first, last := waits[fleet/10], waits[fleet*9/10]; last-first < interval/4 {
			t.Errorf("eight of ten clients came between %v and %v", first, last)
		}
		for i := range fleet - fleet/3 {
			if waits[i+fleet/3]-waits[i] < interval/40 {
				t.Errorf("a third of the clients came between %v and %v", waits[i], waits[i+fleet/3])
				break
			}
		}
	})
}

// R2, R4: the broker drops each connection after CONNACK or within the retransmitted message, and
// the client waits longer each time. States give the reason. When the broker no longer drops
// connections, the client reconnects and the message arrives.
func TestABrokerThatTakesAndDropsIsLeftAloneForLonger(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]end{
		"behind CONNACK":     {way: down, after: 4},
		"in a reset PUBLISH": {way: up, after: 30, reset: true}, // CONNECT has 21 or 23 bytes, PUBLISH 16
	} {
		t.Run(name, func(t *testing.T) {
			withVersions(t, older, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
				const first, rounds = 20 * time.Millisecond, 6
				p := newProxy(t, b, manner{ends: func() end { return at }})
				dials := make(chan time.Time, 1000)
				c, err := mqtt.Open(p.url, withLog(t, mqtt.Options{Version: v, ClientID: "dropped", KeepSession: true,
					Reconnect: &backoff.Backoff{Min: first, Max: 10 * time.Second, Factor: 2}, // without Jitter the intervals are exact
					DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
						dials <- time.Now()
						return new(net.Dialer).DialContext(ctx, network, addr)
					}}))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				states := c.States(within(t))
				published, ctx := make(chan error, 1), within(t)
				go func() { published <- c.Publish(ctx, text("found", "again", 2)) }()
				last := next(t, dials)
				for i := range rounds {
					lost := until(t, states, func(s mqtt.State) bool { return s.Err != nil })
					if lost.Online || lost.Attempt != 0 { // Attempt is 0 because the connection attempt succeeded
						t.Errorf("after connection %d: %+v", i+1, lost)
					}
					at := next(t, dials)
					if least := first << i; at.Sub(last) < least {
						t.Errorf("attempt %d came after %v, want at least %v", i+2, at.Sub(last), least)
					}
					last = at
				}
				p.set(manner{})
				if err := next(t, published); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
