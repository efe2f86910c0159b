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
		publish(t, first, text("elsewhere", "", 1)) // mochi sends SUBACK before it looks up retained messages; this ack shows that it has done so
		late := dial(t, b.url, mqtt.Options{Version: v, ClientID: "late"})
		for _, q := range levels {
			kept := text("kept/1", "old", q)
			kept.Retain = true
			publish(t, publisher, kept)
			kept.Payload = []byte("new")
			publish(t, publisher, kept)
			// An existing Subscription receives the message without the retain flag, like any
			// other.
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

// [MQTT-3.1.2-7] A retained message outlives its publisher's session. [MQTT-3.3.1-5] [MQTT-3.3.1-7]
// The broker keeps the last retained message at any QoS. [MQTT-3.3.1-9] [MQTT-3.3.1-12] A message
// without RETAIN does not replace it.
func TestARetainedMessageOutlivesItsPublisher(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		for _, q := range levels {
			topic := "outlives/" + string('0'+rune(q))
			publisher := dial(t, b.url, mqtt.Options{Version: v, ClientID: "publisher"})
			kept := text(topic, "first", mqtt.ExactlyOnce)
			kept.Retain = true
			publish(t, publisher, kept)
			kept = text(topic, "last", q)
			kept.Retain = true
			publish(t, publisher, kept, text(topic, "in passing", q), text("elsewhere", "", 1))
			if err := publisher.Close(); err != nil { // the clean session of publisher ends here
				t.Fatal(err)
			}
			late := dial(t, b.url, mqtt.Options{Version: v, ClientID: "late"})
			sub := subscribe(t, late, mqtt.Filter{Topic: topic, QoS: mqtt.ExactlyOnce})
			expect(t, sub.Messages(), kept)
			publish(t, late, text(topic, "the next", 1))
			expect(t, sub.Messages(), text(topic, "the next", 1))
			late.Close()
		}
	})
}

// [MQTT-3.8.4-3] A repeated SUBSCRIBE replaces the filter. The broker sends the retained messages
// again, and both Subscriptions of the client receive them.
func TestSubscribingAgainBringsTheRetainedMessageAgain(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "both"})
		kept := text("again", "kept", 1)
		kept.Retain = true
		publish(t, c, kept)
		filter := mqtt.Filter{Topic: "again", QoS: mqtt.AtLeastOnce}
		first := subscribe(t, c, filter)
		expect(t, first.Messages(), kept)
		second := subscribe(t, c, filter)
		expect(t, second.Messages(), kept)
		expect(t, first.Messages(), kept)
		for _, payload := range []string{"once", "and the next"} {
			publish(t, c, text("again", payload, 1))
			expect(t, first.Messages(), text("again", payload, 1))
			expect(t, second.Messages(), text("again", payload, 1))
		}
	})
}
