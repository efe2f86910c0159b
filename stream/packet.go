package stream

import (
	"errors"

	"github.com/go-millrace/mqtt/frames"
)

// A packet is the content of one inbound packet. The field kind decides which of the other fields
// are used.
type packet struct {
	kind     frames.Type
	dup      bool
	tooLarge bool // a PUBLISH above MaxPacket, without its payload
	id       uint16
	size     int
	message  frames.Message
	codes    []frames.ReasonCode
}

// batchPackets bounds how many packets the reader sends to the loop at once.
const batchPackets = 512

// decode parses the complete packets in the buffer and appends them to batch, up to batchPackets.
func decode(r *frames.Reader, v frames.Version, topics *frames.Topics, batch []packet) ([]packet, error) {
	payloads := false
	for len(batch) < batchPackets {
		f, ok, err := r.Next()
		large := 0 // the size of a PUBLISH above MaxPacket
		if err != nil {
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
		if err := p.parse(f, v, topics); err != nil {
			return batch[:len(batch)-1], prefixed(err)
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
// [MQTT-4.8.0-1].
func (p *packet) parse(f frames.Frame, v frames.Version, topics *frames.Topics) error {
	switch p.kind {
	case frames.TypePublish:
		m, err := frames.ParsePublish(f, v, topics, nil)
		p.message, p.dup, p.id = m.Message, m.DUP, m.ID
		return err
	case frames.TypePuback, frames.TypePubrec, frames.TypePubrel, frames.TypePubcomp:
		a, err := frames.ParseAck(f, v)
		p.id, p.dup = a.ID, a.DUP
		return err
	case frames.TypeSuback:
		a, err := frames.ParseSuback(f, v)
		p.id, p.codes = a.ID, a.Codes
		return err
	case frames.TypeUnsuback:
		a, err := frames.ParseUnsuback(f, v)
		p.id, p.codes = a.ID, a.Codes
		return err
	case frames.TypePingresp:
		return frames.ParseEmpty(f)
	case frames.TypeConnack:
		return &frames.ProtocolError{Type: p.kind, Reason: "a second time on one connection"}
	}
	return &frames.ProtocolError{Type: p.kind, Reason: "a broker must not send it"}
}
