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

// R1: a broker that goes and comes back meets its clients one after another: each of
// their intervals is spread over its upper half. (In package stream 500 of them come
// back in a bubble, whose times are exact.)
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
				t.Fatal("not all of them come back")
			}
		}

		mu.Lock()
		defer mu.Unlock()
		var waits []time.Duration
		for i, d := range dials {
			wait := d[1].Sub(gone[i])
			if wait < interval/2-10*time.Millisecond {
				t.Errorf("client %d came after %v", i, wait)
			}
			waits = append(waits, wait)
		}
		slices.Sort(waits)
		// They are spread over half a second. Chance and a busy machine move some.
		if first, last := waits[fleet/10], waits[fleet*9/10]; last-first < interval/4 {
			t.Errorf("eight of ten came between %v and %v", first, last)
		}
		for i := range fleet - fleet/3 {
			if waits[i+fleet/3]-waits[i] < interval/40 {
				t.Errorf("a third of them came between %v and %v", waits[i], waits[i+fleet/3])
				break
			}
		}
	})
}

// R2, R4: a broker that drops each connection behind CONNACK, or in the midst of the
// message that is sent again, is left alone for longer each time. States say why. When
// it keeps connections again, it is found, and the message arrives.
func TestABrokerThatTakesAndDropsIsLeftAloneForLonger(t *testing.T) {
	for name, at := range map[string]end{
		"behind CONNACK":     {way: down, after: 4},
		"in a reset PUBLISH": {way: up, after: 30, reset: true}, // CONNECT has 21 or 23 bytes, PUBLISH 16
	} {
		t.Run(name, func(t *testing.T) {
			withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
				const first, rounds = 20 * time.Millisecond, 6
				p := newProxy(t, b, manner{ends: func() end { return at }})
				dials := make(chan time.Time, 1000)
				c, err := mqtt.Open(p.url, withLog(t, mqtt.Options{Version: v, ClientID: "dropped", KeepSession: true,
					Reconnect: &backoff.Backoff{Min: first, Max: 10 * time.Second, Factor: 2}, // exact, without Jitter
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
					if lost.Online || lost.Attempt != 0 { // the attempt did succeed
						t.Errorf("after connection %d: %+v", i+1, lost)
					}
					at := next(t, dials)
					if least := first << i; at.Sub(last) < least {
						t.Errorf("attempt %d came after %v, want %v", i+2, at.Sub(last), least)
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
