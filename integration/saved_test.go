//go:build unix

package integration

import (
	"context"
	"syscall"
	"testing"

	"github.com/go-millrace/mqtt"
)

// save makes the broker write its sessions to disk and waits until this is done. After the signal,
// mosquitto saves before it answers the next CONNECT.
func (m *mosquitto) save() {
	m.t.Helper()
	m.signal(syscall.SIGUSR1)
	if err := m.probe(); err != nil {
		m.t.Fatal(err)
	}
}

// A broker that is killed when its file is up to date resumes the sessions in the file. No message
// is lost, and no QoS 2 message is repeated (K12).
func TestABrokerThatIsKilledGoesOnWithTheSessionsThatItHasSaved(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withStores(t, func(t *testing.T, open func(*testing.T) []mqtt.Store) {
			withMosquitto(t, setup{persistent: true}, func(t *testing.T, b *broker, v mqtt.Version) {
				f := newTraffic(t, b, v, window, 0, open(t)...)
				for range 3 {
					f.send(200)
					f.finish()
					// The first publication is sent together with the acks of the subscriber, the
					// second with its PUBCOMPs. The ack of the second shows that the broker has all
					// of them.
					elsewhere := text("elsewhere", "", 1)
					publish(t, f.subscriber, elsewhere, elsewhere, elsewhere)
					b.process.save()
					b.process.kill()
					f.send(50)
					f.offline()
					b.process.restart()
					for _, c := range []*mqtt.Client{f.publisher, f.subscriber} {
						ctx, cancel := context.WithCancel(t.Context())
						s := until(t, c.States(ctx), func(s mqtt.State) bool { return s.Online })
						cancel()
						if s.Resumed != (v != mqtt.V31) {
							t.Errorf("resumed: %t", s.Resumed)
						}
					}
				}
				f.send(200)
				f.finish()
				f.check()
				if lost := f.missing(0); lost != nil {
					t.Errorf("lost: %d", lost)
				}
			})
		})
	})
}
