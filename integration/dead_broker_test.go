//go:build unix

package integration

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// U1: our own sending is no proof that the broker lives. A frozen broker still takes bytes, so
// nothing but the missing answer to PINGREQ shows that it is dead.
func TestAFrozenBrokerIsNoticedWhateverIsSent(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]struct {
		qos   mqtt.QoS
		retry *mqtt.Retry
	}{
		"QoS 0":                  {mqtt.AtMostOnce, nil},
		"QoS 1 below the window": {mqtt.AtLeastOnce, nil},
		"QoS 1 sent again early": {mqtt.AtLeastOnce, &mqtt.Retry{Initial: time.Second}},
		"QoS 2 below the window": {mqtt.ExactlyOnce, nil},
	} {
		t.Run(name, func(t *testing.T) {
			withMosquitto(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
				if v >= mqtt.V5 && sent.retry != nil { // [MQTT-4.4.0-1] Open refuses Retry
					t.Log("on MQTT 5 nothing is sent again on a live connection")
					return
				}
				const keepAlive, limit = 2 * time.Second, 5 * time.Second
				c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "c", KeepAlive: keepAlive, Window: 50,
					Retry: sent.retry, Reconnect: soon()})
				publish(t, c, text("t", "before", sent.qos))
				states := c.States(within(t))
				b.process.signal(syscall.SIGSTOP)
				frozen := time.Now()
				each := time.NewTicker(100 * time.Millisecond)
				defer each.Stop()
				for i := 0; ; {
					select {
					case s := <-states:
						if s.Online {
							continue
						}
						if s.Err == nil || !strings.Contains(s.Err.Error(), "PINGREQ") {
							t.Errorf("offline because of %v, want an error that names PINGREQ", s.Err)
						}
						t.Logf("noticed after %v and %d publications", time.Since(frozen).Round(time.Millisecond), i)
						return
					case now := <-each.C:
						if now.Sub(frozen) > limit {
							t.Fatalf("not noticed within %v, %d publications", limit, i)
						}
						m := text("t", strconv.Itoa(i), sent.qos)
						select {
						case c.Publishes() <- mqtt.Publishing{Message: m, Ack: make(chan mqtt.Receipt, 1)}:
							i++
						default: // the client is busy; the next tick tries again
						}
					}
				}
			})
		})
	}
}
