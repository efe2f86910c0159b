package stream_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// T7: a session is suspended for many keep alive intervals. Then it sends one PINGREQ at once, and
// the next PINGREQ after one interval of silence.
func TestAfterStandingStillOnePingreqIsSent(t *testing.T) {
	for _, still := range []time.Duration{55 * time.Second, 10 * time.Minute, 24 * time.Hour} {
		t.Run(still.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				machine := &sleeper{pause: still}
				s, c := connected(t, b, &stream.Options{Logger: slog.New(machine)})
				c.Expect(frames.Pingreq{})
				synctest.Wait() // until the loop has heard that the PINGREQ was written
				machine.suspend()
				c.Send(frames.Pingresp{})
				synctest.Wait()
				elapse(still)
				for range 3 {
					woke := time.Now()
					c.Expect(frames.Pingreq{})
					wantElapsed(t, woke, 0)
					c.Send(frames.Pingresp{})
					c.ExpectQuiet(54*time.Second - 1)
					elapse(1)
				}
				if n := s.Stats().Connections; n != 1 {
					t.Errorf("%d connections", n)
				}
			})
		})
	}
}

// T7: silence while the session is suspended does not prove that the broker is dead. The session
// sends PINGREQ and waits for PingTimeout.
func TestSilenceWhileStandingStillIsNotADeadBroker(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		o := faultOptions(frames.V311)
		machine := &sleeper{pause: time.Hour}
		o.Logger = slog.New(machine)
		s, c := connected(t, b, o)
		c.Expect(frames.Pingreq{})
		synctest.Wait() // until the loop has heard that the PINGREQ was written
		machine.suspend()
		c.Send(frames.Pingresp{})
		synctest.Wait()
		elapse(time.Hour)
		woke := time.Now()
		c.Expect(frames.Pingreq{})
		wantElapsed(t, woke, 0)
		c.ExpectClosed()
		wantElapsed(t, woke, 20*time.Second)
		wantText(t, lost(t, s), "PINGREQ")
	})
}
