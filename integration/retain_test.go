package integration

import (
	"testing"

	"github.com/go-millrace/mqtt"
)

func TestARetainedMessageGreetsNewSubscribersUntilAnEmptyOneDeletesIt(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		publisher := dial(t, b.url, mqtt.Options{Version: v, ClientID: "publisher"})
		first := dial(t, b.url, mqtt.Options{Version: v, ClientID: "first"})
		early := subscribe(t, first, mqtt.Filter{Topic: "kept/+", QoS: mqtt.ExactlyOnce})
		publish(t, first, text("elsewhere", "", 1)) // mochi looks for retained messages after its SUBACK
		late := dial(t, b.url, mqtt.Options{Version: v, ClientID: "late"})
		for _, q := range levels {
			kept := text("kept/1", "old", q)
			kept.Retain = true
			publish(t, publisher, kept)
			kept.Payload = []byte("new")
			publish(t, publisher, kept)
			// Who had subscribed before sees it as any other message.
			expect(t, early.Messages(), text("kept/1", "old", q))
			expect(t, early.Messages(), text("kept/1", "new", q))

			sub := subscribe(t, late, mqtt.Filter{Topic: "kept/#", QoS: mqtt.ExactlyOnce})
			expect(t, sub.Messages(), kept)
			if err := sub.Unsubscribe(within(t)); err != nil {
				t.Fatal(err)
			}

			kept.Payload = nil
			publish(t, publisher, kept)
			expect(t, early.Messages(), text("kept/1", "", q))
			sub = subscribe(t, late, mqtt.Filter{Topic: "kept/#", QoS: mqtt.ExactlyOnce})
			publish(t, publisher, text("kept/2", "the first that comes", q))
			expect(t, sub.Messages(), text("kept/2", "the first that comes", q))
			expect(t, early.Messages(), text("kept/2", "the first that comes", q))
			if err := sub.Unsubscribe(within(t)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
