package integration

import (
	"math/rand/v2"
	"testing"

	"github.com/go-millrace/mqtt"
)

// N3: connections that break at any moment cost nothing but time.
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

// mochi loses a publication whose ack it cannot write, and acknowledges it when it
// is sent again. What it passes on arrives all the same as it should.
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
					f.wires[0].cut() // a subscriber's would lose more, and come back without order
				}
				f.finish()
				if f.subscriber.Stats().Connections > 1 {
					// Under load mochi drops a subscriber, and brings what it missed in any order.
					t.Log("mochi dropped the subscriber")
					return
				}
				f.check()
			})
		}
	})
}
