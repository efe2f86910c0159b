package stream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// brokenPackets returns packets of a broker on MQTT 5: of each type, cut at each byte with a
// remaining length to match, and with each property in each form of a value.
func brokenPackets(t *testing.T) (packets [][]byte) {
	properties := &frames.AckProperties{Reason: "why", User: []frames.UserProperty{{Name: "k", Value: "v"}}}
	whole := [][]byte{
		encoded(t, frames.V5, frames.Publish{ID: 1, Alias: 1, Message: frames.Message{Topic: "in", QoS: 1, Payload: []byte("x"),
			Properties: &frames.Properties{ContentType: "text", ResponseTopic: "re", Correlation: []byte("c"), Expiry: time.Second}}}),
		encoded(t, frames.V5, frames.Suback{ID: 1, Codes: []frames.ReasonCode{0}, Properties: properties}),
		encoded(t, frames.V5, frames.Unsuback{ID: 1, Codes: []frames.ReasonCode{0}, Properties: properties}),
		encoded(t, frames.V5, frames.Disconnect{Code: frames.ServerBusy, Reason: "why", ServerReference: "b"}),
		encoded(t, frames.V5, authOf(frames.ContinueAuthentication, "data")),
		encoded(t, frames.V5, frames.Connack{Properties: &frames.ConnackProperties{Reason: "why", AuthMethod: "M"}}),
	}
	for _, kind := range []frames.Type{puback, pubrec, pubrel, pubcomp} {
		whole = append(whole, encoded(t, frames.V5, frames.Ack{Kind: kind, ID: 1, AckReason: frames.AckReason{Code: frames.UnspecifiedError, Properties: properties}}))
	}
	heads := map[byte][]byte{0x30: {0, 2, 'i', 'n'}, 0x40: {0, 1, 0}, 0x50: {0, 1, 0}, 0x62: {0, 1, 0}, 0x70: {0, 1, 0},
		0x90: {0, 1}, 0xB0: {0, 1}, 0xE0: {0}, 0xF0: {0x18}, 0x20: {0, 0}}
	for _, p := range whole {
		for n := 2; n < len(p); n++ {
			cut := append([]byte{}, p[:n]...)
			cut[1] = byte(n - 2)
			packets = append(packets, cut)
		}
	}
	for first, head := range heads {
		for id := range byte(0x2C) {
			for _, value := range [][]byte{{}, {1}, {0, 1}, {0, 0, 0, 1}, {0, 1, 'k'}, {0, 1, 'k', 0, 1, 'v'}, {0xFF, 0xFF, 0xFF, 0xFF}} {
				p := append([]byte{first, byte(len(head) + 2 + len(value))}, head...)
				packets = append(packets, append(append(p, byte(1+len(value)), id), value...))
			}
		}
	}
	return packets
}

// V90: no packet of a broker, however broken, hangs or ends the client: it is taken, or the
// connection ends and the next one works.
func TestNoBrokenPacketOfMQTT5EndsTheClient(t *testing.T) {
	packets := brokenPackets(t)
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{Version: frames.V5, DiscardUnclaimed: true, KeepAlive: -1,
			Reconnect: &backoff.Backoff{Min: time.Second, Max: time.Second}, V5: stream.OptionsV5{TopicAliases: 1}})
		var closed int
		for _, p := range packets {
			c := b.Handshake(false)
			<-s.Online()
			c.SendBytes(p)
			synctest.Wait()
			if s.State().Online {
				c.Send(frames.Disconnect{Code: frames.ServerBusy})
			}
			for _, p := range c.Rest() {
				switch p := p.(type) {
				case frames.Disconnect:
					if closed++; p.Code < frames.MalformedPacket {
						t.Errorf("the client sent %v", p.Code)
					}
				case frames.Ack:
				default:
					t.Errorf("the client sent %v", p.Type())
				}
			}
		}
		t.Logf("%d packets, of which %d ended the connection with a code", len(packets), closed)
		c := b.Handshake(false)
		done := goPublish(s, message("out", "", frames.AtLeastOnce))
		c.Complete(streamtest.Next[frames.Publish](c))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
