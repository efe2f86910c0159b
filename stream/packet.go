package stream

import (
	"bytes"
	"errors"

	"github.com/go-millrace/mqtt/frames"
)

// A packet is the content of one inbound packet. The field kind decides which of the other fields
// are used.
type packet struct {
	kind     frames.Type
	dup      bool
	tooLarge bool              // a PUBLISH above MaxPacket, without its payload
	code     frames.ReasonCode // of a PUBACK, PUBREC, PUBREL or PUBCOMP
	id       uint16
	size     int
	message  frames.Message
	rest     *rareParts // nil if the packet has no such content
}

// rareParts are the content that few packets have.
type rareParts struct {
	codes      []frames.ReasonCode   // of a SUBACK or UNSUBACK
	properties *frames.AckProperties // of an acknowledgment
	auth       *frames.Auth
}

// properties returns the properties of an acknowledgment; they may be empty.
func (p *packet) properties() frames.AckProperties {
	if p.rest == nil || p.rest.properties == nil {
		return frames.AckProperties{}
	}
	return *p.rest.properties
}

// batchPackets bounds how many packets the reader sends to the loop at once.
const batchPackets = 512

// A decoder parses the packets of one connection.
type decoder struct {
	version frames.Version
	topics  *frames.Topics
	aliases *frames.Aliases // that the broker has set; nil before MQTT 5
}

// decode parses the complete packets in the buffer and appends them to batch, up to batchPackets.
func (c *decoder) decode(r *frames.Reader, batch []packet) ([]packet, error) {
	payloads := false
	for len(batch) < batchPackets {
		f, ok, err := r.Next()
		large := 0                               // the size of a PUBLISH above MaxPacket
		if err != nil && c.version < frames.V5 { // on MQTT 5 the broker knows the limit, and the packet may set an alias
			f, ok, large, err = skip(r, err)
		}
		if err != nil {
			return batch, prefixed(err) // the connection ends, so the buffer keeps the payloads of batch
		}
		if !ok {
			break
		}
		batch = append(batch, packet{kind: f.Type(), size: f.Size()})
		p := &batch[len(batch)-1] // parsed in place: packets are large
		if large > 0 {
			p.tooLarge, p.size = true, large
		}
		if err := p.parse(f, c); err != nil {
			var bye *DisconnectError
			if !errors.As(err, &bye) {
				err = prefixed(err)
			}
			return batch[:len(batch)-1], err
		}
		payloads = payloads || len(p.message.Payload) > 0
	}
	if payloads {
		r.Keep() // the payloads lie in the buffer, which now belongs to the consumers
	}
	return batch, nil
}

// skip leads past a PUBLISH above MaxPacket and returns its size. Any other error ends the
// connection.
func skip(r *frames.Reader, err error) (f frames.Frame, ok bool, size int, _ error) {
	var large *frames.TooLargeError
	if !errors.As(err, &large) {
		return f, false, 0, err
	}
	f, ok, err = r.SkipPublish()
	return f, ok, large.Size, err
}

// parse accepts the packets that a broker may send. Any other packet ends the connection
// [MQTT-4.8.0-1], as does a DISCONNECT of MQTT 5.
func (p *packet) parse(f frames.Frame, c *decoder) error {
	v := c.version
	switch p.kind {
	case frames.TypePublish:
		m, err := frames.ParsePublish(f, v, c.topics, c.aliases)
		p.message, p.dup, p.id = m.Message, m.DUP, m.ID
		if props := m.Properties; props != nil && props.Correlation != nil {
			props.Correlation = bytes.Clone(props.Correlation) // so that it does not keep the read buffer
		}
		frames.SetReceived(m.Properties)
		return err
	case frames.TypePuback, frames.TypePubrec, frames.TypePubrel, frames.TypePubcomp:
		a, err := frames.ParseAck(f, v)
		if p.id, p.dup, p.code = a.ID, a.DUP, a.Code; a.Properties != nil {
			p.rest = &rareParts{properties: a.Properties}
		}
		return err
	case frames.TypeSuback:
		a, err := frames.ParseSuback(f, v)
		p.id, p.rest = a.ID, &rareParts{codes: a.Codes, properties: a.Properties}
		return err
	case frames.TypeUnsuback:
		a, err := frames.ParseUnsuback(f, v)
		p.id, p.rest = a.ID, &rareParts{codes: a.Codes, properties: a.Properties}
		return err
	case frames.TypeDisconnect:
		if v >= frames.V5 {
			return endedByBroker(f)
		}
	case frames.TypeAuth:
		if v >= frames.V5 {
			a, err := frames.ParseAuth(f, v)
			a.Data = bytes.Clone(a.Data)
			p.rest = &rareParts{auth: &a}
			return err
		}
	case frames.TypePingresp:
		return frames.ParseEmpty(f)
	case frames.TypeConnack:
		return &frames.ProtocolError{Type: p.kind, Reason: "a second time on one connection"}
	}
	return &frames.ProtocolError{Type: p.kind, Reason: "a broker must not send it"}
}

// endedByBroker returns the error for a DISCONNECT of the broker.
func endedByBroker(f frames.Frame) error {
	d, err := frames.ParseDisconnect(f, frames.V5)
	switch {
	case err != nil:
		return err
	case d.SessionExpiry != nil: // [MQTT-3.14.2-2]
		return &frames.ProtocolError{Type: frames.TypeDisconnect, Reason: "has a session expiry interval, which a broker must not send"}
	}
	return &DisconnectError{Code: d.Code, Reason: d.Reason, ServerReference: d.ServerReference, User: d.User}
}
