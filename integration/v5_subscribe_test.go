package integration

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/go-millrace/mqtt"
)

// V64. mosquitto sends one copy for each filter that matches, mochi one for all of them. Each
// Subscription gets the message once.
func TestOverlappingSubscriptionsGetEachMessageOnce(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		c := dial(t, b.url, mqtt.Options{ClientID: "both"})
		subs := []*mqtt.Subscription{
			subscribe(t, c, mqtt.Filter{Topic: "over/#", QoS: mqtt.ExactlyOnce}),
			subscribe(t, c, mqtt.Filter{Topic: "over/+/x", QoS: mqtt.AtLeastOnce}),
			subscribe(t, c, mqtt.Filter{Topic: "over/1/x", QoS: mqtt.ExactlyOnce}),
		}
		const n = 20
		for i := range n {
			publish(t, c, text("over/1/x", strconv.Itoa(i), mqtt.QoS(1+i%2)))
		}
		for k, sub := range subs {
			for i := range n {
				if m := next(t, sub.Messages()); string(m.Payload) != strconv.Itoa(i) {
					t.Fatalf("subscription %d: got %s, want number %d", k, show(m), i)
				}
			}
		}
		if st := c.Stats(); st.Unclaimed != 0 || st.Discarded != 0 || st.Connections != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// A client with NoLocal gets the messages of others only.
func TestNoLocalLeavesOutTheOwnMessages(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		c, other := dial(t, b.url, mqtt.Options{ClientID: "one"}), dial(t, b.url, mqtt.Options{ClientID: "other"})
		sub := subscribe(t, c, mqtt.Filter{Topic: "bus", QoS: mqtt.AtLeastOnce, NoLocal: true})
		publish(t, c, text("bus", "own", 1))
		publish(t, other, text("bus", "foreign", 1))
		expect(t, sub.Messages(), text("bus", "foreign", 1))
	})
}

// SendRetained, SendRetainedIfNew and SendNoRetained; RetainAsPublished keeps the flag.
func TestRetainHandlingAndRetainAsPublished(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		c := dial(t, b.url, mqtt.Options{ClientID: "both"})
		kept := text("kept", "old", 1)
		kept.Retain = true
		publish(t, c, kept)
		routed(t, c)
		live := kept
		for i, h := range []struct {
			filter  mqtt.Filter
			greeted bool
		}{
			{mqtt.Filter{Topic: "kept", QoS: 1, RetainHandling: mqtt.SendRetained}, true},
			{mqtt.Filter{Topic: "kept", QoS: 1, RetainHandling: mqtt.SendRetainedIfNew}, true},
			{mqtt.Filter{Topic: "kept", QoS: 1, RetainHandling: mqtt.SendNoRetained}, false},
			{mqtt.Filter{Topic: "kept", QoS: 1, RetainHandling: mqtt.SendNoRetained, RetainAsPublished: true}, false},
		} {
			sub := subscribe(t, c, h.filter)
			if h.greeted {
				expect(t, sub.Messages(), live)
			}
			live.Payload = fmt.Append(nil, "live ", i)
			publish(t, c, live)
			want := live
			want.Retain = h.filter.RetainAsPublished
			expect(t, sub.Messages(), want)
			if err := sub.Unsubscribe(within(t)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// $share belongs to MQTT 5. Each message goes to one member.
func TestASharedSubscriptionDividesTheMessages(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		const n = 100
		got := make(chan string, 2*n)
		for i := range 2 {
			c := dial(t, b.url, mqtt.Options{ClientID: fmt.Sprint("member", i)})
			sub := subscribe(t, c, mqtt.Filter{Topic: "$share/mill/grain", QoS: mqtt.AtLeastOnce})
			go func() {
				for m := range sub.Messages() {
					got <- string(m.Payload)
				}
			}()
		}
		publisher := dial(t, b.url, mqtt.Options{ClientID: "publisher"})
		seen := make(map[string]bool)
		for i := range n {
			publish(t, publisher, text("grain", strconv.Itoa(i), 1))
		}
		for range n {
			seen[next(t, got)] = true
		}
		if len(seen) != n || len(got) != 0 {
			t.Errorf("%d different messages and %d more, want %d", len(seen), len(got), n)
		}
	})
}
