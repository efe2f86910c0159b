//go:build unix

package integration

import (
	"context"
	"syscall"
	"testing"

	"github.com/go-millrace/mqtt"
)

// save has the broker write its sessions to disk, and returns when it has: it saves
// between the connection and the answer of a client that comes after the signal.
func (m *mosquitto) save() {
	m.t.Helper()
	m.signal(syscall.SIGUSR1)
	if err := m.probe(); err != nil {
		m.t.Fatal(err)
	}
}

// A broker that is killed when its file is up to date goes on with the sessions in
// it: nothing is lost, and nothing is repeated at QoS 2 (K12).
func TestABrokerThatIsKilledGoesOnWithTheSessionsThatItHasSaved(t *testing.T) {
	withWindows(t, func(t *testing.T, window int) {
		withStores(t, func(t *testing.T, open func(*testing.T) []mqtt.Store) {
			withMosquitto(t, setup{persistent: true}, func(t *testing.T, b *broker, v mqtt.Version) {
				f := newTraffic(t, b, v, window, 0, open(t)...)
				for range 3 {
					f.send(200)
					f.finish()
					// The first takes the acks of the subscriber along, the second its
					// PUBCOMPs; the answer to the last says that the broker has them.
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
