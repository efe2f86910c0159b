package integration

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
)

func TestSeveralFiltersAreGrantedInTheirOrder(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "both"})
		sub := subscribe(t, c,
			mqtt.Filter{Topic: "a/+", QoS: mqtt.ExactlyOnce},
			mqtt.Filter{Topic: "b/#", QoS: mqtt.AtMostOnce},
			mqtt.Filter{Topic: "c", QoS: mqtt.AtLeastOnce},
		)
		if want := []mqtt.QoS{2, 0, 1}; !slices.Equal(sub.Granted(), want) {
			t.Errorf("granted: got %d, want %d", sub.Granted(), want)
		}
		publish(t, c, text("a/1", "x", 2), text("a/1/2", "no", 2), text("b", "y", 2), text("b/1/2", "y", 2), text("c", "z", 2), text("d", "no", 2))
		expect(t, sub.Messages(), text("a/1", "x", 2))
		expect(t, sub.Messages(), text("b", "y", 0))
		expect(t, sub.Messages(), text("b/1/2", "y", 0))
		expect(t, sub.Messages(), text("c", "z", 1))
	})
}

// A message goes once to every Subscription that it matches, however many copies the broker sends
// for overlapping filters. mochi and mosquitto send one copy.
func TestSubscriptionsThatOverlapEachGetTheMessage(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "both"})
		wide := subscribe(t, c, mqtt.Filter{Topic: "plant/#", QoS: mqtt.AtLeastOnce})
		narrow := subscribe(t, c, mqtt.Filter{Topic: "plant/+/temperature", QoS: mqtt.AtLeastOnce})
		same := subscribe(t, c, mqtt.Filter{Topic: "plant/#", QoS: mqtt.AtLeastOnce})
		for _, m := range []mqtt.Message{text("plant/1/temperature", "20", 1), text("plant/2/temperature", "21", 1)} {
			publish(t, c, m)
			for _, sub := range []*mqtt.Subscription{wide, narrow, same} {
				expect(t, sub.Messages(), m)
			}
		}
	})
}

func TestUnsubscribeEndsTheMessagesAndTheChannel(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "both"})
		going := subscribe(t, c, mqtt.Filter{Topic: "going", QoS: mqtt.ExactlyOnce})
		shared := subscribe(t, c, mqtt.Filter{Topic: "shared", QoS: mqtt.ExactlyOnce})
		staying := subscribe(t, c, mqtt.Filter{Topic: "shared", QoS: mqtt.ExactlyOnce})
		messages := going.Messages()

		publish(t, c, text("going", "before", 1))
		expect(t, messages, text("going", "before", 1))
		for _, sub := range []*mqtt.Subscription{going, shared} {
			if err := sub.Unsubscribe(within(t)); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, c, text("going", "after", 2), text("shared", "after", 2))
		if m, ok := <-messages; ok {
			t.Errorf("got %s after Unsubscribe", show(m))
		}
		if err := going.Err(); err != nil {
			t.Errorf("Err after Unsubscribe: %v", err)
		}
		expect(t, staying.Messages(), text("shared", "after", 2)) // so the message to shared has arrived only once
		if st := c.Stats(); st.Discarded != 0 || st.Unclaimed != 0 {
			t.Errorf("the broker still sent %d messages", st.Discarded+uint64(st.Unclaimed))
		}

		again := subscribe(t, c, mqtt.Filter{Topic: "going", QoS: mqtt.AtLeastOnce})
		publish(t, c, text("going", "again", 2))
		expect(t, again.Messages(), text("going", "again", 1))
	})
}

func TestARefusedFilterIsNamedAndNothingOfItStays(t *testing.T) {
	t.Parallel()
	for _, v := range versions { // not with mosquitto, which grants every filter and withholds the messages
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			b := startMochi(t, setup{deny: "secret"})
			c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "both"})
			_, err := c.Subscribe(within(t), mqtt.Filter{Topic: "open", QoS: 1}, mqtt.Filter{Topic: "secret", QoS: 2})
			var refused *mqtt.RefusedError
			if !errors.As(err, &refused) || !slices.Equal(refused.Filters, []mqtt.Filter{{Topic: "secret", QoS: 2}}) {
				t.Fatalf("got %v, want a RefusedError for secret", err)
			}
			rest := subscribe(t, c, mqtt.Filter{Topic: "rest", QoS: 2})
			publish(t, c, text("open", "nobody has it", 2), text("rest", "works", 2))
			expect(t, rest.Messages(), text("rest", "works", 2))
			if st := c.Stats(); st.Received != 1 || st.Subscribed != 1 {
				t.Errorf("got %d messages and %d Subscriptions, want one of each", st.Received, st.Subscribed)
			}
		})
	}
}

// [MQTT-3.10.4-1] UNSUBSCRIBE removes only identical filters, not other filters that match the same
// topics. [MQTT-3.10.4-6] One UNSUBACK answers any number of filters.
func TestUnsubscribeTakesAwayNoOtherFilter(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "both"})
		filters := func(topics ...string) (fs []mqtt.Filter) {
			for _, topic := range topics {
				fs = append(fs, mqtt.Filter{Topic: topic, QoS: mqtt.ExactlyOnce})
			}
			return fs
		}
		wide, exact := subscribe(t, c, filters("a/+", "b/#", "#")...), subscribe(t, c, filters("a/x", "b/x/y")...)
		rest := subscribe(t, c, filters("c")...)
		if err := wide.Unsubscribe(within(t)); err != nil {
			t.Fatal(err)
		}
		publish(t, c, text("a/x", "1", 2), text("b/x", "no", 2), text("a/y", "no", 2), text("b/x/y", "2", 2), text("c", "3", 2))
		expect(t, exact.Messages(), text("a/x", "1", 2))
		expect(t, exact.Messages(), text("b/x/y", "2", 2))
		expect(t, rest.Messages(), text("c", "3", 2))
		if n := c.Stats().Received; n != 3 {
			t.Errorf("received %d messages, want 3", n)
		}

		wide = subscribe(t, c, filters("a/+", "b/#")...)
		if err := exact.Unsubscribe(within(t)); err != nil {
			t.Fatal(err)
		}
		publish(t, c, text("a/x", "4", 2), text("b/x/y", "5", 2))
		expect(t, wide.Messages(), text("a/x", "4", 2))
		expect(t, wide.Messages(), text("b/x/y", "5", 2))
	})
}

// [MQTT-3.10.4-5] The broker answers UNSUBSCRIBE even if it does not have the filter. Here another
// connection with the client's identifier has removed the filter.
func TestUnsubscribeOfAnUnknownFilter(t *testing.T) {
	t.Parallel()
	for _, k := range kinds(t) { // only 3.1.1, because on 3.1 TrustSession has no effect
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b := k.start(t, setup{})
			w := new(wire)
			c := dial(t, b.url, mqtt.Options{Version: mqtt.V311, ClientID: "kept", KeepSession: true, TrustSession: true, DialContext: w.DialContext, Reconnect: soon()})
			sub := subscribe(t, c, mqtt.Filter{Topic: "gone", QoS: mqtt.ExactlyOnce})
			states := c.States(within(t))
			w.setDown(true)
			other := handshake(t, b, frames.Connect{Version: mqtt.V311, ClientID: "kept"})
			until(t, states, func(s mqtt.State) bool { return !s.Online })
			send(t, other, frames.Unsubscribe{ID: 1, Topics: []string{"gone"}}, mqtt.V311)
			if _, err := io.ReadFull(other, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			send(t, other, frames.Disconnect{}, mqtt.V311)
			io.Copy(io.Discard, other) // returns when the broker has closed the connection
			w.setDown(false)
			if s := until(t, states, func(s mqtt.State) bool { return s.Online }); !s.Resumed {
				t.Fatal("the session was not resumed")
			}
			publish(t, c, text("gone", "to nobody", 2))
			if err := sub.Unsubscribe(within(t)); err != nil {
				t.Fatal(err)
			}
			if st := c.Stats(); st.Received != 0 || st.Connections != 2 {
				t.Errorf("received %d messages over %d connections", st.Received, st.Connections)
			}
		})
	}
}
