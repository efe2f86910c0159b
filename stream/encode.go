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
	before := len(o.filling.bytes)
	bytes, err := p.Append(o.filling.bytes, o.version)
	if o.added(before, bytes, err) {
		o.sent++
		o.log.sentPublish(p, len(bytes)-before)
	}
}

// publishNext adds a message of a run. It returns false when the batch is full.
func (o *outbox) publishNext(m *frames.Message) bool {
	p := frames.Publish{Message: *m}
	o.publish(&p)
	return !o.full()
}

// transmit adds a PUBLISH or a PUBREL that flow.Sender returned.
func (o *outbox) transmit(out *flow.Outgoing) {
	if out.Type == frames.TypePubrel {
		o.ack(frames.Ack{Kind: frames.TypePubrel, ID: out.Publish.ID})
		return
	}
	o.publish(&out.Publish)
}

// ack adds a PUBACK, PUBREC, PUBREL or PUBCOMP.
func (o *outbox) ack(a frames.Ack) {
	before := len(o.filling.bytes)
	bytes, err := a.Append(o.filling.bytes, o.version)
	if o.added(before, bytes, err) {
		o.ackingBytes += int32(len(bytes) - before)
		o.log.sentAck(a, len(bytes)-before)
	}
}

// publications adds publications until the batch or the in-flight window is full.
func (o *outbox) publications(s *flow.Sender[owner], now time.Duration) {
	for !o.full() {
		if s.AtRun() {
			s.NextRun(o.number(), o.publishNext)
			continue
		}
		out, ok := s.Next(o.number(), now)
		if !ok {
			return
		}
		o.transmit(&out)
	}
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
func (o *outbox) request(r flow.Request) { o.packet(r.Packet(o.version)) }

// packet adds a packet of any type.
func (o *outbox) packet(p frames.Packet) {
	before := len(o.filling.bytes)
	bytes, err := p.Append(o.filling.bytes, o.version)
	if o.added(before, bytes, err) {
		o.log.sentPacket(p, len(bytes)-before)
	}
}

// added stores the batch with its new packet in bytes, unless the encoding failed with err or the
// packet is larger than the connection allows. before is the length of the batch without the
// packet.
func (o *outbox) added(before int, bytes []byte, err error) bool {
	if size := len(bytes) - before; err == nil && size > o.maxPacket {
		err = &frames.TooLargeError{Size: size, Limit: o.maxPacket}
	}
	if err != nil {
		o.filling.bytes, o.err = bytes[:before], prefixed(err)
		return false
	}
	o.filling.bytes = bytes
	return true
}
