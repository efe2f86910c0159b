package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// The methods here encode packets into the batch being filled. A packet that does not fit the terms
// of the connection is not added. Then outbox.err is set, and the loop closes the connection.

// publish adds a PUBLISH.
func (o *outbox) publish(p *frames.Publish) {
	before, topic := len(o.filling.bytes), p.Topic
	if o.aliases != nil {
		o.aliases.apply(p, o.terms.maxPacket)
	}
	bytes, err := p.Append(o.filling.bytes, o.terms.version)
	if p.Topic = topic; o.added(before, bytes, err) {
		o.sent++
		if p.DUP {
			o.resent++
		}
		o.log.sentPublish(p, len(bytes)-before)
	}
}

// transmit adds a PUBREL, or a PUBLISH for each message of out, until the batch is full or the
// connection cannot carry a message. It returns the number of messages; the first one is added in
// any case.
func (o *outbox) transmit(out *flow.Outgoing, now time.Duration) (n int) {
	if out.Type == frames.TypePubrel {
		o.ack(frames.Ack{Kind: frames.TypePubrel, ID: out.ID})
		return 0
	}
	for ; n < len(out.Messages); n++ {
		m := &out.Messages[n]
		if n > 0 && (o.full() || o.terms.limited(m) && o.check(m, out.Until, now) != nil) {
			break
		}
		p := frames.Publish{Message: *m, ID: out.ID, DUP: out.DUP}
		if out.Until != 0 || p.Properties != nil {
			p.Properties = o.outgoing(p.Properties, out.Until, now)
		}
		o.publish(&p)
	}
	return n
}

// outgoing returns the properties of a message as they are sent now: with the part of the message
// expiry interval that is left [MQTT-3.3.2-6], at least a second, and without subscription
// identifiers [MQTT-3.3.4-6]. They are valid until the next call.
func (o *outbox) outgoing(p *frames.Properties, until, now time.Duration) *frames.Properties {
	if until == 0 && p.Subscriptions == nil {
		return p
	}
	if o.properties == nil {
		o.properties = new(frames.Properties)
	}
	if *o.properties = (frames.Properties{}); p != nil {
		*o.properties = *p
	}
	o.properties.Subscriptions = nil
	if until != 0 {
		o.properties.Expiry, o.properties.Since = max(time.Second, until-now), time.Time{}
	}
	return o.properties
}

// ack adds a PUBACK, PUBREC, PUBREL or PUBCOMP.
func (o *outbox) ack(a frames.Ack) {
	before := len(o.filling.bytes)
	bytes, err := a.Append(o.filling.bytes, o.terms.version)
	if a.Properties != nil && len(bytes)-before > o.terms.maxPacket { // [MQTT-3.4.2-2] without the reason string
		a.Properties = nil
		bytes, err = a.Append(o.filling.bytes, o.terms.version)
	}
	if o.added(before, bytes, err) {
		o.ackingBytes += int32(len(bytes) - before)
		o.log.sentAck(a, len(bytes)-before)
	}
}

// publications adds publications until the batch or the in-flight window is full. A publication
// that the connection cannot carry ends with misfit.
func (o *outbox) publications(s *flow.Sender[owner], now time.Duration, misfit func(e flow.Ended[owner], err error)) {
	for !o.full() {
		if !o.fits(s, now, misfit) {
			continue
		}
		out, ok := s.Next()
		if !ok {
			return
		}
		s.Transmitted(o.transmit(&out, now), o.number(), now)
	}
}

// fits ends the next publication and returns false if the connection cannot carry it. If the user
// allows it, the publication is sent at a lower QoS instead.
func (o *outbox) fits(s *flow.Sender[owner], now time.Duration, misfit func(e flow.Ended[owner], err error)) bool {
	m, until, sent := s.First()
	if m == nil || !o.terms.limited(m) {
		return true
	}
	if q := o.terms.maxQoS; m.QoS > q && o.terms.lowerQoS && !(sent && q == frames.AtMostOnce) {
		s.Lower(q)
		m, _, _ = s.First()
	}
	err := o.check(m, until, now)
	if err == nil {
		return true
	}
	misfit(s.Drop(), err)
	return false
}

// check returns the reason why a message cannot be sent now, with the properties that it would
// have.
func (o *outbox) check(m *frames.Message, until, now time.Duration) error {
	if m.Properties == nil && until == 0 {
		return o.terms.check(m)
	}
	sent := *m
	sent.Properties = o.outgoing(m.Properties, until, now)
	return o.terms.check(&sent)
}

// acks adds all acks that the receiver allows to be sent now, in the order in which the messages
// arrived.
func (o *outbox) acks(r *flow.Receiver) {
	for a, ok := r.Next(); ok; a, ok = r.Next() {
		o.ack(a)
	}
}

// pingreq adds a PINGREQ.
func (o *outbox) pingreq() {
	o.packet(frames.Pingreq{})
	o.filling.ping = true
}

// request adds a SUBSCRIBE or an UNSUBSCRIBE.
func (o *outbox) request(r flow.Request) {
	o.packet(r.Packet(o.terms.version, o.terms.server != nil && o.terms.server.SubscriptionIDs))
}

// packet adds a packet of any type.
func (o *outbox) packet(p frames.Packet) {
	before := len(o.filling.bytes)
	bytes, err := p.Append(o.filling.bytes, o.terms.version)
	if o.added(before, bytes, err) {
		o.log.sentPacket(p, len(bytes)-before)
	}
}

// added stores the batch with its new packet in bytes, unless the encoding failed with err or the
// packet is larger than the connection allows. before is the length of the batch without the
// packet.
func (o *outbox) added(before int, bytes []byte, err error) bool {
	if size := len(bytes) - before; err == nil && size > o.terms.maxPacket {
		err = &frames.TooLargeError{Size: size, Limit: o.terms.maxPacket}
	}
	if err != nil {
		o.filling.bytes, o.err = bytes[:before], prefixed(err)
		return false
	}
	o.filling.bytes = bytes
	return true
}
