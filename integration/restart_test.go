package integration

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/flow/boltstore"
	"github.com/go-millrace/mqtt/flow/logstore"
)

// withWindows runs a heavy test with a window of 1 and with a large window.
func withWindows(t *testing.T, test func(t *testing.T, window int)) {
	t.Parallel()
	for _, window := range []int{1, 100} {
		t.Run(fmt.Sprintf("window %d", window), func(t *testing.T) { test(t, window) })
	}
}

// A diskStore is a store on disk.
type diskStore interface {
	mqtt.Store
	Close() error
}

// stores opens each kind of store on disk.
var stores = map[string]func(path string) (diskStore, error){
	"boltstore": func(path string) (diskStore, error) { return boltstore.Open(path, nil) },
	// Small segments, so that compaction runs.
	"logstore": func(path string) (diskStore, error) {
		return logstore.Open(path, &logstore.Options{SegmentSize: 16 << 10})
	},
}

// withStores runs test with sessions in memory and with sessions on disk. The function open returns
// the stores of the publisher and of the subscriber.
func withStores(t *testing.T, test func(t *testing.T, open func(*testing.T) []mqtt.Store)) {
	t.Run("memory", func(t *testing.T) {
		test(t, func(*testing.T) []mqtt.Store { return nil })
	})
	for kind := range stores {
		t.Run(kind, func(t *testing.T) {
			test(t, func(t *testing.T) []mqtt.Store {
				dir := t.TempDir()
				return []mqtt.Store{openStore(t, kind, filepath.Join(dir, "publisher")), openStore(t, kind, filepath.Join(dir, "subscriber"))}
			})
		})
	}
}

// openStore opens a store and closes it at the end of the test.
func openStore(t *testing.T, kind, path string) mqtt.Store {
	t.Helper()
	s, err := stores[kind](path)
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

// A broker that is terminated during traffic writes its sessions to disk and restores them when it
// restarts on the same port. Then every accepted publication arrives, and QoS 2 messages arrive
// once and in order.
func TestABrokerThatRestartsInOrderLosesNothing(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withStores(t, func(t *testing.T, open func(*testing.T) []mqtt.Store) {
			withMosquitto(t, setup{persistent: true}, func(t *testing.T, b *broker, v mqtt.Version) {
				f := newTraffic(t, b, v, window, 0, open(t)...)
				for range 3 {
					f.send(200)
					f.progress(100) // the rest is in flight, at the broker or in the queue
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

// A broker that is killed loses its subscriptions, its sessions and the acknowledged messages that
// it has not delivered. Without persistence it loses all of them, with persistence the changes
// after the last save. The client still guarantees that each accepted publication completes once,
// because it retransmits until the broker acknowledges. It does not send a QoS 2 message again that
// may have been routed, and reports it with ErrSessionLost (U24). It keeps the order. It also
// subscribes again, so that every later publication arrives.
func TestARestartedBrokerGetsUnacknowledgedPublications(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withStores(t, func(t *testing.T, open func(*testing.T) []mqtt.Store) {
			withMosquitto(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
				f := newTraffic(t, b, v, window, 0, open(t)...)
				f.forgets = true
				for range 3 {
					f.send(200)
					f.progress(100) // the rest is in flight, at the broker or in the queue
					b.process.kill()
					f.send(50)
					f.offline()
					b.process.restart()
				}
				f.send(200)
				f.finish() // the last message arrives through the restored subscription
				first := f.sent
				f.send(200)
				f.finish()
				f.check()
				if lost := f.missing(first); lost != nil {
					t.Errorf("lost although the broker was up: %d", lost)
				}
			})
		})
	})
}

// If a broker writes everything to disk before it acknowledges, a kill loses nothing, and each
// session is resumed (K12). None of the available brokers does that, so the test uses a keeper.
func TestABrokerThatIsKilledAndForgetsNothingLosesNothing(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withStores(t, func(t *testing.T, open func(*testing.T) []mqtt.Store) {
			for _, v := range heavy() {
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
