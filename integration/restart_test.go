package integration

import (
	"fmt"
	"testing"

	"github.com/go-millrace/mqtt"
)

// withWindows runs test with window 1 and with a wide one.
func withWindows(t *testing.T, test func(t *testing.T, window int)) {
	for _, window := range []int{1, 100} {
		t.Run(fmt.Sprintf("window %d", window), func(t *testing.T) { test(t, window) })
	}
}

// A broker that is terminated in the midst of traffic writes its sessions to disk
// and has them again when it is restarted on the same port. Then everything that
// was accepted arrives, QoS 2 once and all of it in order.
func TestABrokerThatRestartsInOrderLosesNothing(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withMosquitto(t, setup{persistent: true}, func(t *testing.T, b *broker, v mqtt.Version) {
			f := newTraffic(t, b, v, window, 0)
			for range 3 {
				f.send(200)
				f.progress(100) // the rest is on its way, at the broker or in the queue
				b.process.terminate()
				f.send(50)
				f.offline()
				b.process.restart()
			}
			f.send(200)
			f.finish()
			f.check()
			if lost := f.missing(0); lost != nil {
				t.Errorf("lost: %d", lost)
			}
		})
	})
}

// A broker that is killed forgets what it has acknowledged and not yet passed on,
// the subscriptions and the sessions: without persistence all of it, with it what
// came after the last time that it was saved. That is its loss. Ours to keep is:
// each publication that was accepted ends, once, without an error, since it is sent
// again until the broker acknowledges it; QoS 2 is not sent twice once it may have
// been passed on; the order holds; and subscriptions are made again, so that all
// that is accepted from then on arrives.
func TestABrokerThatIsKilledGetsWhatItHasNotAcknowledgedAgain(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withMosquitto(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
			f := newTraffic(t, b, v, window, 0)
			for range 3 {
				f.send(200)
				f.progress(100) // the rest is on its way, at the broker or in the queue
				b.process.kill()
				f.send(50)
				f.offline()
				b.process.restart()
			}
			f.send(200)
			f.finish() // through a subscription that was made again
			first := f.sent
			f.send(200)
			f.finish()
			f.check()
			if lost := f.missing(first); lost != nil {
				t.Errorf("lost, with the broker up: %d", lost)
			}
		})
	})
}
