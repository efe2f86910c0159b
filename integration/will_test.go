package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/go-millrace/mqtt"
)

func TestTheWillComesWhenTheClientDiesAndNotWhenItCloses(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		watcher := dial(t, b.url, mqtt.Options{Version: v, ClientID: "watcher"})
		sub := subscribe(t, watcher, mqtt.Filter{Topic: "will/#", QoS: mqtt.ExactlyOnce})
		for _, q := range levels {
			mortal := func(name string, retain bool) (*mqtt.Client, *wire) {
				will := text("will/"+name, fmt.Sprintf("QoS %d", q), q)
				will.Retain = retain
				w := new(wire)
				return dial(t, b.url, mqtt.Options{Version: v, ClientID: name, Will: &will, DialContext: w.DialContext, NoReconnect: true}), w
			}

			closes, _ := mortal("closes", false)
			if err := closes.Close(); err != nil {
				t.Fatal(err)
			}
			_, w := mortal("dies", true)
			w.cut()
			// mochi may send the retained will of the previous level twice.
			m := until(t, sub.Messages(), func(m mqtt.Message) bool { return !m.Retain })
			if want := text("will/dies", fmt.Sprintf("QoS %d", q), q); show(m) != show(want) {
				t.Fatalf("got %s, want %s", show(m), show(want))
			}

			late := subscribe(t, watcher, mqtt.Filter{Topic: "will/dies", QoS: mqtt.ExactlyOnce})
			kept := text("will/dies", fmt.Sprintf("QoS %d", q), q)
			kept.Retain = true
			expect(t, late.Messages(), kept)
			if err := late.Unsubscribe(within(t)); err != nil {
				t.Fatal(err)
			}
			// The broker also sent the retained will to the earlier Subscription, unless it tells
			// by the subscription identifier that the will is for the other one.
			if v < mqtt.V5 || b.process == nil {
				expect(t, sub.Messages(), kept)
			}
		}
		// If the broker published a will after Close, it would have arrived by now.
		publish(t, watcher, text("will/end", "", 2))
		m := until(t, sub.Messages(), func(m mqtt.Message) bool { return !m.Retain })
		if want := text("will/end", "", 2); show(m) != show(want) {
			t.Fatalf("got %s, want %s", show(m), show(want))
		}
	})
}

// [MQTT-3.1.2-10] A will is published once and then deleted. [MQTT-3.1.2-12] The broker does not
// publish a will for a client without one. [MQTT-3.1.2-16] [MQTT-3.1.2-17] A will is retained if
// its retain flag is set.
func TestAWillIsPublishedOnce(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		watcher := dial(t, b.url, mqtt.Options{Version: v, ClientID: "watcher"})
		sub := subscribe(t, watcher, mqtt.Filter{Topic: "will/#", QoS: mqtt.ExactlyOnce})
		for _, q := range levels {
			for _, retain := range []bool{false, true} {
				topic := fmt.Sprintf("will/%d/%t", q, retain)
				will := text(topic, "bye", q)
				will.Retain = retain
				w := new(wire)
				dial(t, b.url, mqtt.Options{Version: v, ClientID: "mortal", Will: &will, DialContext: w.DialContext, NoReconnect: true})
				w.cut()
				expect(t, sub.Messages(), text(topic, "bye", q))

				// The same client dies again without a will. The will of another client, which dies
				// later, marks the end.
				second := new(wire)
				dial(t, b.url, mqtt.Options{Version: v, ClientID: "mortal", DialContext: second.DialContext, NoReconnect: true})
				second.cut()
				last := text("will/last", topic, 1)
				third := new(wire)
				dial(t, b.url, mqtt.Options{Version: v, ClientID: "last", Will: &last, DialContext: third.DialContext, NoReconnect: true})
				third.cut()
				expect(t, sub.Messages(), last)

				late := dial(t, b.url, mqtt.Options{Version: v, ClientID: "late"})
				kept := subscribe(t, late, mqtt.Filter{Topic: topic, QoS: mqtt.ExactlyOnce})
				if retain {
					expect(t, kept.Messages(), will)
				}
				publish(t, watcher, text(topic, "end", 1))
				expect(t, kept.Messages(), text(topic, "end", 1))
				expect(t, sub.Messages(), text(topic, "end", 1))
				late.Close()
			}
		}
	})
}

// [MQTT-3.14.4-3] A client that detects a protocol violation closes without DISCONNECT, so that the
// broker publishes its will. After DISCONNECT the broker deletes the will.
func TestAClientThatMeetsAViolationLeavesItsWill(t *testing.T) {
	// At 5 the client sends DISCONNECT with a reason code, after which mosquitto 2.0.11 and mochi
	// 2.7.9 publish no will.
	withVersions(t, older, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		watcher := dial(t, b.url, mqtt.Options{Version: v, ClientID: "watcher"})
		sub := subscribe(t, watcher, mqtt.Filter{Topic: "will/#", QoS: mqtt.ExactlyOnce})
		var bad atomic.Bool
		will := text("will/violation", "bye", 1)
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "strict", Will: &will, NoReconnect: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				return &garbler{conn, &bad}, err
			}})
		subscribe(t, c, mqtt.Filter{Topic: "fine", QoS: mqtt.AtMostOnce})
		bad.Store(true)
		publish(t, watcher, text("fine", "until it gets there", 0))
		expect(t, sub.Messages(), will)
		ends(t, c)
		var violation *mqtt.ProtocolError
		if !errors.As(c.Err(), &violation) {
			t.Errorf("the client ended with %v, want a ProtocolError", c.Err())
		}
	})
}

// garbler turns received bytes into packets of type 0 while bad is set.
type garbler struct {
	net.Conn
	bad *atomic.Bool
}

func (g *garbler) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if g.bad.Load() {
		clear(p[:n])
	}
	return n, err
}
