package stream_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// U29. A message above MaxPacket, such as a retained one that a wide filter brings, is acknowledged
// and dropped at each level, and the connection goes on. MQTT 5 has a rule of its own, see below.
func TestAMessageAboveMaxPacketIsAcknowledgedAndDropped(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := new(logBook)
		s, c := connected(t, b, &stream.Options{Version: frames.V311, MaxPacket: 1000, Logger: book.logger()})
		sub := subscribed(t, s, c, "#", exactly)
		large := strings.Repeat("x", 5000)
		c.Send(publish("big", large, atMost, 0, false))
		c.Send(publish("big", large, atLeast, 1, false))
		c.Send(publish("other", large, exactly, 2, false))
		c.Expect(ack(puback, 1), ack(pubrec, 2))
		c.Send(publish("other", large, exactly, 2, true)) // a second copy
		c.Expect(ack(pubrec, 2))
		c.Send(ack(pubrel, 2), publish("small", "fits", atLeast, 3, false))
		c.Expect(ack(pubcomp, 2))
		wantPayloads(t, sub.Messages(), "fits")
		wantIdle(t, sub.Messages())
		wantStat(t, s, "TooLarge", func(st stream.Stats) uint64 { return st.TooLarge }, 4)
		wantStat(t, s, "Connections", func(st stream.Stats) uint64 { return st.Connections }, 1)
		if n := book.count("above MaxPacket"); n != 2 || book.count("topic=big") != 1 || book.count("topic=other") != 1 {
			t.Errorf("%d records, want one for each topic:\n%s", n, book.text.String())
		}
	})
}

// U29
func TestTheConnectionGoesOnAfterAVeryLargeMessage(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, faultOptions(frames.V311))
		const size = 64 << 20
		c.SendBytes(append(header(size), "\x00\x01t"...))
		part := make([]byte, 1<<20)
		for left := size - 3; left > 0; left -= len(part) {
			c.SendBytes(part[:min(left, len(part))])
			synctest.Wait()
		}
		c.Send(publish("t", "after it", atMost, 0, false))
		wantPayloads(t, s.Messages(), "after it")
		if st := s.Stats(); st.TooLarge != 1 || st.Connections != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// V27. At MQTT 5 CONNECT announces MaxPacket as the maximum packet size, so that a larger packet is
// a violation [MQTT-3.1.2-24]. It ends the connection before its body has arrived, and the session
// comes back.
func TestAMessageAboveTheAnnouncedMaximumPacketSizeEndsTheConnection(t *testing.T) {
	for _, q := range levels {
		t.Run(q.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				o := faultOptions(frames.V5)
				o.MaxPacket = 1000
				s := open(t, b, o)
				c := b.Accept()
				if p := c.ExpectConnect().Properties; p == nil || p.MaximumPacket != 1000 {
					t.Fatalf("properties %+v", p)
				}
				c.Connack(false, frames.Success)
				up(t, s)
				in := subscribed(t, s, c, "#", exactly).Deliveries()
				fits := publish("t", "", q, min(uint16(q), 1), false)
				fits.Payload = make([]byte, 1000-len(encoded(t, frames.V5, fits))-1) // the length takes two bytes
				c.Send(fits)
				d := wantDelivery(t, in, "t", string(fits.Payload))
				start := time.Now()
				fits.Payload = append(fits.Payload, 0)
				c.SendBytes(encoded(t, frames.V5, fits)[:5])
				c.ExpectDisconnectCode(frames.PacketTooLarge)
				var large *frames.TooLargeError
				if err := lost(t, s); !errors.As(err, &large) || large.Size != 1001 || large.Limit != 1000 {
					t.Errorf("the connection ended with %v", err)
				}
				d.Ack()
				returns(t, b, s, in, start)
				wantStat(t, s, "TooLarge", func(st stream.Stats) uint64 { return st.TooLarge }, 0)
			})
		})
	}
}

// A packet of another type above MaxPacket ends the connection.
func TestAnyOtherPacketAboveMaxPacketEndsTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{MaxPacket: 1000})
		c.SendBytes(append([]byte{0x90}, header(2000)[1:]...))
		endsWith(t, c, frames.PacketTooLarge)
		var large *frames.TooLargeError
		if err := lost(t, s); !errors.As(err, &large) || large.Limit != 1000 {
			t.Error(err)
		}
	})
}

// U33. The broker chooses the topics that are remembered, so they are bounded in bytes.
func TestTopicsThatAreLoggedOnceAreBoundedInBytes(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		book := new(logBook)
		s, c := connected(t, b, &stream.Options{Logger: book.logger()})
		for i := range 100 {
			c.Send(publish(strings.Repeat("t", 10_000)+string(rune('A'+i%50)), "", atMost, 0, false))
		}
		if n := book.count("no Subscription claims this topic"); n != 6 {
			t.Errorf("%d topics of 10,000 bytes are remembered, want 6 in 64 KiB", n)
		}
		wantStat(t, s, "Unclaimed", func(st stream.Stats) int { return st.Unclaimed }, 100)
	})
}
