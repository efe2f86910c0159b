package integration

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/flow/boltstore"
)

// withWindows runs test with window 1 and with a wide one.
func withWindows(t *testing.T, test func(t *testing.T, window int)) {
	for _, window := range []int{1, 100} {
		t.Run(fmt.Sprintf("window %d", window), func(t *testing.T) { test(t, window) })
	}
}

// withStores runs test with sessions in memory and with sessions on disk: open gives
// the stores of the publisher and of the subscriber.
func withStores(t *testing.T, test func(t *testing.T, open func(*testing.T) []mqtt.Store)) {
	t.Run("memory", func(t *testing.T) {
		test(t, func(*testing.T) []mqtt.Store { return nil })
	})
	t.Run("disk", func(t *testing.T) {
		test(t, func(t *testing.T) []mqtt.Store {
			dir := t.TempDir()
			return []mqtt.Store{openStore(t, filepath.Join(dir, "publisher")), openStore(t, filepath.Join(dir, "subscriber"))}
		})
	})
}

// openStore opens a store until the end of the test.
func openStore(t *testing.T, path string) mqtt.Store {
	t.Helper()
	s, err := boltstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A broker that is terminated in the midst of traffic writes its sessions to disk
// and has them again when it is restarted on the same port. Then everything that
// was accepted arrives, QoS 2 once and all of it in order.
func TestABrokerThatRestartsInOrderLosesNothing(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withStores(t, func(t *testing.T, open func(*testing.T) []mqtt.Store) {
			withMosquitto(t, setup{persistent: true}, func(t *testing.T, b *broker, v mqtt.Version) {
				f := newTraffic(t, b, v, window, 0, open(t)...)
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
		withStores(t, func(t *testing.T, open func(*testing.T) []mqtt.Store) {
			withMosquitto(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
				f := newTraffic(t, b, v, window, 0, open(t)...)
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
	})
}

// A broker that is killed and has on disk whatever it has answered loses nothing, and
// then nothing is lost: each session goes on where it was (K12). No real broker at
// hand is like that, so this one is a keeper.
func TestABrokerThatIsKilledAndForgetsNothingLosesNothing(t *testing.T) {
	t.Parallel()
	withWindows(t, func(t *testing.T, window int) {
		withStores(t, func(t *testing.T, open func(*testing.T) []mqtt.Store) {
			for _, v := range versions {
				t.Run(v.String(), func(t *testing.T) {
					t.Parallel()
					k, b := startKeeper(t, 1, 0)
					f := newTraffic(t, b, v, window, 0, open(t)...)
					for range 5 {
						f.send(100)
						f.progress(50)
						k.kill()
						f.send(50)
						f.offline()
						k.restart()
					}
					f.send(100)
					f.finish()
					f.check()
					if lost := f.missing(0); lost != nil {
						t.Errorf("lost: %d", lost)
					}
				})
			}
		})
	})
}
