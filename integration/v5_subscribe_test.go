package integration

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
)

// V64. mosquitto, ejabberd and RabbitMQ send one copy for each filter that matches, mochi one for
// all of them. Each Subscription gets the message once. aedes 2.0.0-beta.1 sends one copy with the
// identifier of the first Subscription, so that the others get none, and now and then swaps two
// messages of different QoS.
func TestOverlappingSubscriptionsGetEachMessageOnce(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		c := dial(t, b.url, mqtt.Options{ClientID: "both"})
		subs := []*mqtt.Subscription{
			subscribe(t, c, mqtt.Filter{Topic: "over/#", QoS: mqtt.ExactlyOnce}),
			subscribe(t, c, mqtt.Filter{Topic: "over/+/x", QoS: mqtt.AtLeastOnce}),
			subscribe(t, c, mqtt.Filter{Topic: "over/1/x", QoS: mqtt.ExactlyOnce}),
		}
		if b.name == "aedes" {
			subs = subs[:1]
		}
		// ejabberd sends a copy when the copy before it is acked, so that each Subscription needs a
		// reader.
		got := make(chan string, len(subs))
		const n = 20
		for _, sub := range subs {
			go func() {
				var all []string
				for m := range sub.Messages() {
					if all = append(all, string(m.Payload)); len(all) == n {
						break
					}
				}
				if b.name == "aedes" {
					slices.SortFunc(all, func(x, y string) int { return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)) })
				}
				got <- strings.Join(all, " ")
			}()
		}
		// mochi confuses a QoS 2 message with one that it sends to the same client under the same
		// identifier.
		publisher := dial(t, b.url, mqtt.Options{ClientID: "publisher"})
		var want []string
		for i := range n {
			want = append(want, strconv.Itoa(i))
			publish(t, publisher, text("over/1/x", strconv.Itoa(i), min(mqtt.QoS(1+i%2), b.best())))
		}
		for range subs {
			if all := next(t, got); all != strings.Join(want, " ") {
				t.Errorf("got %s", all)
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

// $share belongs to MQTT 5. Each message goes to one member. ejabberd, RabbitMQ 4 and aedes
// announce that they do not have it; the client does not ask them.
func TestASharedSubscriptionDividesTheMessages(t *testing.T) {
	withMQTT5(t, setup{}, func(t *testing.T, b *broker) {
		if b.name != "mochi" && b.name != "mosquitto" {
			c := dial(t, b.url, mqtt.Options{ClientID: "member"})
			s := c.State().Server
			_, err := c.Subscribe(within(t), mqtt.Filter{Topic: "$share/mill/grain", QoS: mqtt.AtLeastOnce})
			if s.Shared || !errors.Is(err, frames.SharedSubscriptionsNotSupported) {
				t.Errorf("announced %+v, then %v", s, err)
			}
			return
		}
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
