package stream_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A broker that violates the standard while a packet is being written gets its DISCONNECT after
// that packet.
func TestAViolationDuringAWriteIsAnsweredAfterTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := streamtest.New(t, streamtest.Buffer(1000))
		s, c := connected(t, b, &stream.Options{Version: frames.V5, Window: 2, KeepAlive: noPing})
		ack := make(chan stream.Receipt, 1)
		big := frames.Message{Topic: "big", Payload: bytes.Repeat([]byte("b"), 50_000), QoS: 1}
		s.Publishes() <- stream.Publishing{Message: big, Ack: ack}
		synctest.Wait() // the broker has not read, so the write is under way
		c.SendBytes([]byte{0xF1, 0x00})
		elapse(900 * time.Millisecond)
		if p := streamtest.Next[frames.Publish](c); len(p.Payload) != len(big.Payload) {
			t.Errorf("PUBLISH with %d bytes", len(p.Payload))
		}
		endsWith(t, c, frames.MalformedPacket, frames.ProtocolViolation)
	})
}

// A broker that violates the standard and does not read is not waited for.
func TestAViolationDuringAWriteThatHangsEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := streamtest.New(t, streamtest.Buffer(1000))
		s, c := connected(t, b, &stream.Options{Version: frames.V5, Window: 2, KeepAlive: noPing, Reconnect: every(time.Hour)})
		ack := make(chan stream.Receipt, 1)
		s.Publishes() <- stream.Publishing{Message: frames.Message{Topic: "big", Payload: make([]byte, 50_000), QoS: 1}, Ack: ack}
		synctest.Wait()
		c.SendBytes([]byte{0xF1, 0x00})
		for range 9 {
			elapse(100 * time.Millisecond)
			s.Stats() // a turn of the loop does not begin the second anew
		}
		if !s.State().Online {
			t.Error("the connection has ended before a second")
		}
		elapse(200 * time.Millisecond)
		if s.State().Online {
			t.Error("the connection is there after a second")
		}
	})
}

// The figures count a packet that no other packet accompanies.
func TestADisconnectThatIsWrittenAloneCounts(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Version: frames.V5, KeepAlive: noPing})
		before := s.Stats()
		c.SendBytes([]byte{0xF1, 0x00})
		bye, err := streamtest.Next[frames.Disconnect](c).Append(nil, frames.V5)
		if err != nil {
			t.Fatal(err)
		}
		st := s.Stats()
		if writes, n := st.Writes-before.Writes, int(st.BytesOut-before.BytesOut); writes != 1 || n != len(bye) {
			t.Errorf("%d bytes in %d writes, want %d in 1", n, writes, len(bye))
		}
	})
}
