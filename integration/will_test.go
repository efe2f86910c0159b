package integration

import (
	"fmt"
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
			// mochi may send the retained one of the level before twice.
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
			// The broker sent the retained one to the Subscription before too.
			expect(t, sub.Messages(), kept)
		}
		// What Close had left behind would have come by now.
		publish(t, watcher, text("will/end", "", 2))
		m := until(t, sub.Messages(), func(m mqtt.Message) bool { return !m.Retain })
		if want := text("will/end", "", 2); show(m) != show(want) {
			t.Fatalf("got %s, want %s", show(m), show(want))
		}
	})
}
