package integration

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/go-millrace/mqtt"
)

// credentials returns Options with the user and password of the shared brokers.
func credentials(id string, v mqtt.Version) mqtt.Options {
	s := everything()
	return mqtt.Options{ClientID: id, Username: s.user, Password: []byte(s.password), Version: v}
}

// V1, V4. NATS refuses MQTT 5 with the return code of 3.1.1, RabbitMQ 3.10 closes the connection,
// and aedes 1 does as NATS. Each is spoken to at 3.1.1 within the first attempt, unless Version
// demands 5.
func TestABrokerWithoutMQTT5IsSpokenToAt311(t *testing.T) {
	t.Parallel()
	for _, k := range allKinds(t) {
		if k.knows5 {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b := k.start(t, everything())
			for i, w := range b.ways() {
				v := visit{url: w.url, setup: everything(), mutual: w.url == b.mutualURL, name: fmt.Sprint("way", i)}
				c := v.dial(t, v.options("falls-back"))
				s := c.State()
				if s.Version != mqtt.V311 || s.Server != nil || c.Stats().Connections != 1 {
					t.Errorf("over %s: version %v, server %+v, %d connections", w.name, s.Version, s.Server, c.Stats().Connections)
				}
			}
			c := dial(t, b.url, credentials("falls-back", 0))
			sub := subscribe(t, c, mqtt.Filter{Topic: "older/1", QoS: mqtt.AtLeastOnce})
			publish(t, c, text("older/1", "hello", 1))
			expect(t, sub.Messages(), text("older/1", "hello", 1))

			o := credentials("demands", mqtt.V5)
			_, err := mqtt.Dial(within(t), b.url, withLog(t, o))
			if closed := b.name == "RabbitMQ" && errors.Is(err, io.ErrUnexpectedEOF); !closed && !errors.Is(err, mqtt.UnsupportedProtocolVersion) {
				t.Errorf("Version V5: %v, want %v", err, mqtt.UnsupportedProtocolVersion)
			}

			// A property that 3.1.1 lacks.
			m := text("older/1", "with a property", 1)
			m.Properties = &mqtt.Properties{ContentType: "text/plain"}
			var lacks *mqtt.VersionError
			if err := c.Publish(within(t), m); !errors.As(err, &lacks) || !errors.Is(err, mqtt.ErrNotSent) {
				t.Errorf("published with a property of MQTT 5: %v", err)
			}
		})
	}
}

// V2. A wrong password at MQTT 5 is no reason to try 3.1.1.
func TestAWrongPasswordIsRefusedAtMQTT5(t *testing.T) {
	withMQTT5(t, setup{user: "miller", password: "grain+flour"}, func(t *testing.T, b *broker) {
		w := new(wire)
		_, err := mqtt.Dial(within(t), b.url, withLog(t, mqtt.Options{Username: "miller", Password: []byte("chaff"), DialContext: w.DialContext}))
		var refused *mqtt.ConnectError
		if !errors.As(err, &refused) || refused.Code != mqtt.NotAuthorized && refused.Code != mqtt.BadUserNameOrPassword {
			t.Errorf("got %v, want a refusal", err)
		}
		if w.dials != 1 {
			t.Errorf("%d dials", w.dials)
		}
	})
}

// withMQTT5 runs test with a broker of each kind that knows MQTT 5.
func withMQTT5(t *testing.T, s setup, test func(t *testing.T, b *broker)) {
	t.Parallel()
	for _, k := range kinds5(t) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k.start(t, s))
		})
	}
}

// withMosquitto5 runs test with mosquitto, whose configuration has the lines limits.
func withMosquitto5(t *testing.T, limits string, test func(t *testing.T, b *broker)) {
	t.Parallel()
	if mosquittoPath() == "" {
		t.Log(notInstalled)
		return
	}
	test(t, startMosquitto(t, setup{limits: limits}))
}
