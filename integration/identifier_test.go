package integration

import (
	"strings"
	"testing"

	"github.com/go-millrace/mqtt"
)

// [MQTT-3.1.3-5] Every broker accepts 1 to 23 letters and digits. From 3.1.1 on a broker may accept
// longer identifiers, and these brokers do.
func TestClientIdentifiersOfEveryLength(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		const all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		ids := []string{"a", all[:23], all[23:46], all[39:]}
		if v != mqtt.V31 {
			ids = append(ids, all, strings.Repeat("ä水", 500))
		}
		for _, id := range ids {
			roundTrip(t, b.url, mqtt.Options{Version: v, ClientID: id})
		}
	})
}

// [MQTT-3.1.3-6] A broker assigns a client identifier to each client that sends an empty one.
func TestClientsWithoutAnIdentifierAreDifferentOnes(t *testing.T) {
	t.Parallel()
	for _, k := range kinds(t) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b := k.start(t, setup{})
			one, two := dial(t, b.url, mqtt.Options{}), dial(t, b.url, mqtt.Options{})
			sub := subscribe(t, one, mqtt.Filter{Topic: "nameless", QoS: mqtt.ExactlyOnce})
			publish(t, two, text("nameless", "hello", 2))
			expect(t, sub.Messages(), text("nameless", "hello", 2))
			for _, c := range []*mqtt.Client{one, two} {
				if n := c.Stats().Connections; n != 1 {
					t.Errorf("%d connections: the clients take over each other's session", n)
				}
			}
		})
	}
}
