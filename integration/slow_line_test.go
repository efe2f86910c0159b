package integration

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// U2: the line is slow but healthy. PINGREQ waits in the send queue behind publications for several
// times PingTimeout, and the connection stays.
func TestASlowLineIsNotCutBehindALargeSendQueue(t *testing.T) {
	t.Parallel()
	cert := selfSigned(t)
	for _, scheme := range []string{"mqtt", "mqtts"} {
		t.Run(scheme, func(t *testing.T) {
			withMosquitto(t, setup{cert: cert}, func(t *testing.T, b *broker, v mqtt.Version) {
				const n, size, rate = 10, 100_000, 120_000
				through, o := *b, mqtt.Options{Version: v, ClientID: "c", KeepAlive: 2 * time.Second, NoReconnect: true}
				if scheme == "mqtts" {
					through.url = "mqtt" + strings.TrimPrefix(b.tlsURL, "mqtts")
					o.TLS = &tls.Config{RootCAs: cert.roots}
				}
				sub := subscribe(t, dial(t, b.url, mqtt.Options{Version: v, ClientID: "s"}), mqtt.Filter{Topic: "slow"})
				p := newProxy(t, &through, manner{rate: rate})
				c := dial(t, scheme+strings.TrimPrefix(p.url, "mqtt"), o)

				began := time.Now()
				for range n {
					publish(t, c, mqtt.Message{Topic: "slow", Payload: make([]byte, size)})
				}
				taken := time.Since(began)
				for range n {
					if m := next(t, sub.Messages()); len(m.Payload) != size {
						t.Errorf("got %d bytes", len(m.Payload))
					}
				}
				took := time.Since(began)
				if least := 3 * o.KeepAlive; took < least || taken > o.KeepAlive {
					t.Errorf("written after %v and arrived after %v, so no PINGREQ waited", taken, took)
				}
				publish(t, c, text("slow", "after", 1))
				if err := c.Err(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
