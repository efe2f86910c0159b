package integration

import (
	"errors"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt"
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

// A message goes to every Subscription that it matches, once to each, however
// many copies the broker sends for filters that overlap: mochi sends one,
// mosquitto too.
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
		expect(t, staying.Messages(), text("shared", "after", 2)) // and nothing came before it
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
	for _, v := range versions { // mosquitto refuses no filter: it withholds the messages
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
