package streamtest

import "github.com/go-millrace/mqtt/frames"

// Deliver sends messages to the client and waits until the client has acknowledged each of them:
// with PUBACK at QoS 1, and with PUBREC, PUBREL and PUBCOMP at QoS 2. A message at QoS 0 has no
// acknowledgment, so Deliver does not wait for it.
//
//	c.Deliver(frames.Message{Topic: "level", Payload: []byte("4.2"), QoS: frames.AtLeastOnce})
//
// The messages leave in one write. The test fails if a packet other than the next acknowledgment
// arrives, or if the acknowledgments are not in the order of the messages [MQTT-4.6.0-2].
//
// Deliver suits a consumer that runs on a goroutine of its own. If the test's goroutine consumes
// the message, or if the consumer sends packets before it acknowledges, use [Conn.Publish] and then
// [Conn.ExpectAck].
func (c *Conn) Deliver(messages ...frames.Message) {
	c.tb.Helper()
	c.ExpectAck(c.Publish(messages...)...)
}

// Publish sends messages to the client in one write, and returns their packets. At QoS 1 and 2 each
// packet gets the next packet identifier of the Broker, beginning with 1. A message must not have a
// higher QoS than its subscription was granted. With DUP set, a returned packet can be sent again.
func (c *Conn) Publish(messages ...frames.Message) []frames.Publish {
	c.tb.Helper()
	sent := make([]frames.Publish, len(messages))
	packets := make([]frames.Packet, len(messages))
	for i, m := range messages {
		sent[i] = frames.Publish{Message: m}
		if m.QoS > frames.AtMostOnce {
			sent[i].ID = c.broker.nextID()
		}
		packets[i] = sent[i]
	}
	c.Send(packets...)
	return sent
}

// ExpectAck completes the exchanges of publications as their sender. It expects PUBACK at QoS 1 and
// PUBREC at QoS 2, in the order of the publications. Then it sends a PUBREL for each PUBREC, and
// expects PUBCOMP. A publication at QoS 0 needs no exchange.
func (c *Conn) ExpectAck(publications ...frames.Publish) {
	c.tb.Helper()
	var pubrels, pubcomps []frames.Packet
	for _, p := range publications {
		switch p.QoS {
		case frames.AtLeastOnce:
			c.Expect(frames.Ack{Kind: frames.TypePuback, ID: p.ID})
		case frames.ExactlyOnce:
			c.Expect(frames.Ack{Kind: frames.TypePubrec, ID: p.ID})
			pubrels = append(pubrels, frames.Ack{Kind: frames.TypePubrel, ID: p.ID})
			pubcomps = append(pubcomps, frames.Ack{Kind: frames.TypePubcomp, ID: p.ID})
		}
	}
	if len(pubrels) > 0 {
		c.Send(pubrels...)
		c.Expect(pubcomps...)
	}
}

// nextID returns the next packet identifier. It counts on over all connections, so that a kept
// session gets no identifier twice.
func (b *Broker) nextID() uint16 {
	if b.lastID++; b.lastID == 0 {
		b.lastID = 1 // [MQTT-2.3.1-1] 0 is no identifier
	}
	return b.lastID
}
