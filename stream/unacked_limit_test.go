package stream_test

import (
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// U-T. A broker has 65,535 identifiers. One that sends more messages before the first ack makes the
// session pause, whatever MaxUnread allows, until a consumer acknowledges one. At MQTT 5 such a
// broker exceeds the Receive Maximum, which ends the connection.
func TestReadingPausesAbove65535UnackedMessages(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Version: frames.V311, MaxUnread: 1 << 30, KeepAlive: noPing})
		c.Send(publish("a", "1", atLeast, 1, false))
		first := wantDelivery(t, s.Deliveries(), "a", "1")
		var packets []byte
		for id := 2; id <= flow.MaxUnacked; id++ {
			packets = append(packets, encoded(t, frames.V311, publish("a", "", atLeast, uint16(id), false))...)
		}
		c.SendBytes(packets)
		synctest.Wait()
		if st := s.Stats(); st.Unacked != 65_535 || st.Paused {
			t.Fatalf("%d unacked, paused: %t", st.Unacked, st.Paused)
		}
		for range 2 { // the first begins the pause
			c.Send(publish("a", "", atLeast, 1, false))
			synctest.Wait()
		}
		if st := s.Stats(); st.Unacked != 65_536 || !st.Paused {
			t.Fatalf("%d unacked, paused: %t", st.Unacked, st.Paused)
		}
		first.Ack()
		c.Expect(ack(puback, 1))
		synctest.Wait()
		if st := s.Stats(); st.Unacked != 65_536 || st.Received != 65_537 {
			t.Errorf("%d unacked of %d received", st.Unacked, st.Received)
		}
	})
}
