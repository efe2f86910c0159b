package integration

import (
	"math/rand/v2"
	"testing"

	"github.com/go-millrace/mqtt"
)

// N3: connections that break at any moment lose no message.
func TestConnectionsThatBreakLoseNothing(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withMosquitto(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
			f := newTraffic(t, b, v, window, 0)
			for range 20 {
				f.send(50)
				f.progress(1 + rand.N(40))
				f.wires[rand.N(2)].cut()
			}
			f.finish()
			f.check()
			if lost := f.missing(0); lost != nil {
				t.Errorf("lost: %d", lost)
			}
		})
	})
}

// mochi loses a publication if it cannot write the ack, and acknowledges it when it is sent again.
// The messages that it routes still arrive once and in order.
func TestBrokenConnectionsWithMochi(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		t.Parallel()
		for _, v := range versions {
			t.Run(v.String(), func(t *testing.T) {
				t.Parallel()
				f := newTraffic(t, startMochi(t, setup{}), v, window, 0)
				for range 20 {
					f.send(50)
					f.progress(1 + rand.N(40))
					f.wires[0].cut() // not the subscriber's: mochi would lose more, and the order
				}
				f.finish()
				if f.subscriber.Stats().Connections > 1 {
					// Under load mochi drops a subscriber, and then delivers its queued messages in
					// any order.
					t.Log("mochi dropped the subscriber")
					return
				}
				f.check()
			})
		}
	})
}
