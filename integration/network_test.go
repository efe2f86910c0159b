package integration

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// N3: both connections break off after any number of bytes, in either direction: within a packet,
// between a packet and its ack, or before CONNACK. Every message arrives in the end, and a QoS 2
// message arrives once.
func TestConnectionsThatBreakAtAnyByteLoseNothing(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		for _, v := range heavy() {
			t.Run(v.String(), func(t *testing.T) {
				t.Parallel()
				_, b := startKeeper(t, rand.Uint64(), 0)
				there, back := newProxy(t, b, manner{}), newProxy(t, b, manner{})
				breakAnywhere(t, newTrafficVia(t, there.url, back.url, v, window, 0), there, back)
			})
		}
	})
}

// N3: with mosquitto, only the publisher's connection breaks. If a subscriber's connection breaks
// before mosquitto 2.0.11 has sent a PUBREL again, mosquitto starts the whole exchange anew.
func TestPublishersWhoseConnectionsBreakAtAnyByteLoseNothing(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withMosquitto(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
			there := newProxy(t, b, manner{})
			breakAnywhere(t, newTrafficVia(t, there.url, b.url, v, window, 0), there)
		})
	})
}

func breakAnywhere(t *testing.T, f *traffic, proxies ...*proxy) {
	t.Helper()
	for _, p := range proxies {
		p.set(manner{ends: anywhere})
		p.each(func(r *relay) { r.cut(true) })
	}
	f.send(600)
	f.progress(600)
	for _, p := range proxies {
		p.set(manner{})
		p.each(func(r *relay) { r.cut(false) })
	}
	f.finish()
	f.check()
	if lost := f.missing(0); lost != nil {
		t.Errorf("lost: %d", lost)
	}
	if n := f.publisher.Stats().Connections; n < 5 {
		t.Errorf("%d connections of the publisher, want at least 5", n)
	}
}

// N3: mochi loses a publication if it cannot write the ack, so messages may be missing. The test
// requires that every publication completes once and that no message arrives twice or out of order.
func TestConnectionsThatBreakAtAnyByteWithMochi(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		for _, v := range heavy() {
			t.Run(v.String(), func(t *testing.T) {
				t.Parallel()
				b := startMochi(t, setup{})
				there := newProxy(t, b, manner{})
				f := newTrafficVia(t, there.url, b.url, v, window, 0)
				there.set(manner{ends: anywhere})
				there.each(func(r *relay) { r.cut(true) })
				f.send(600)
				f.progress(600)
				there.set(manner{})
				there.each(func(r *relay) { r.cut(false) })
				f.finish()
				// If mochi has disconnected the subscriber, it later delivers the queued messages
				// in any order.
				if f.subscriber.Stats().Connections == 1 {
					f.check()
				}
			})
		}
	})
}

// anywhere returns a random end within the first few packets.
func anywhere() end {
	return end{way: way(rand.N(2)), after: rand.N(1000), reset: rand.N(2) == 0}
}

// Every message arrives on the first connection, both on a slow network and on a network that
// delivers single bytes.
func TestSlowAndSplittingNetworksLoseNothing(t *testing.T) {
	for name, m := range map[string]manner{
		"slow":           {delay: 5 * time.Millisecond},
		"byte by byte":   {split: true},
		"slow and split": {delay: 5 * time.Millisecond, split: true},
	} {
		t.Run(name, func(t *testing.T) {
			withWindows(t, func(t *testing.T, window int) {
				withVersions(t, heavy(), setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
					p := newProxy(t, b, m)
					f := newTrafficVia(t, p.url, p.url, v, window, 0)
					f.send(60 + 2*window)
					f.finish()
					f.check()
					if lost := f.missing(0); lost != nil {
						t.Errorf("lost: %d", lost)
					}
					for _, c := range []*mqtt.Client{f.publisher, f.subscriber} {
						if n := c.Stats().Connections; n != 1 {
							t.Errorf("%d connections", n)
						}
					}
				})
			})
		})
	}
}

// T3: both ends of a half-open connection look alive. The clients detect the silence and resume
// their sessions on new connections, although the broker keeps the old connections.
func TestHalfOpenConnectionsAreNoticedAndResumed(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withMosquitto(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
			p := newProxy(t, b, manner{})
			f := newTrafficVia(t, p.url, p.url, v, window, time.Second)
			f.send(100)
			f.progress(100)
			p.each(func(r *relay) { r.state.Store(lost) })
			began := time.Now()
			f.send(100)
			f.noticed(began)
			if after := time.Since(began); after > 5*time.Second {
				t.Errorf("the silence was noticed after %v; keep alive and its timeout are one second each", after)
			}
			f.finish()
			f.check()
			if lost := f.missing(0); lost != nil {
				t.Errorf("lost: %d", lost)
			}
		})
	})
}
