package frames

import (
	"encoding/binary"
	"slices"
)

// Publish is PUBLISH, in either direction (section 3.3).
type Publish struct {
	Message
	DUP bool   // the packet may have been sent before; never set at QoS 0
	ID  uint16 // 1 to 65,535 at QoS 1 and 2; ignored at QoS 0
}

// Type returns TypePublish.
func (Publish) Type() Type { return TypePublish }

// Append appends the packet. It checks QoS, DUP, identifier and lengths; Validate checks the topic.
func (p Publish) Append(dst []byte, _ Version) ([]byte, error) {
	n, err := p.check()
	if err != nil {
		return dst, err
	}
	dst = slices.Grow(dst, 5+n) // the only allocation, and only for a valid length
	return append(p.appendHeader(dst, n), p.Payload...), nil
}

// AppendHeader appends the packet without its payload. The caller writes the payload after it, so
// that a large payload is not copied. It makes the same checks as Append and returns the same
// errors.
func (p Publish) AppendHeader(dst []byte, _ Version) ([]byte, error) {
	n, err := p.check()
	if err != nil {
		return dst, err
	}
	return p.appendHeader(dst, n), nil
}

// check returns the remaining length of p, or an error if p cannot be encoded.
func (p *Publish) check() (remaining int, err error) {
	if err := p.QoS.check("QoS"); err != nil {
		return 0, err
	}
	if p.QoS == AtMostOnce {
		// [MQTT-3.3.1-2] DUP is 0 at QoS 0.
		if p.DUP {
			return 0, &InvalidError{Field: "DUP", Reason: "set at QoS 0"}
		}
	} else if p.ID == 0 {
		return 0, zeroID() // [MQTT-2.3.1-1]
	}
	if err := checkLength("topic", len(p.Topic)); err != nil {
		return 0, err
	}
	return p.remaining()
}

func (p *Publish) appendHeader(dst []byte, remaining int) []byte {
	first := byte(TypePublish)<<4 | byte(p.QoS)<<1
	if p.DUP {
		first |= flagDUP
	}
	if p.Retain {
		first |= flagRetain
	}
	dst = appendLength(append(dst, first), remaining)
	dst = appendField(dst, p.Topic)
	// [MQTT-2.3.1-5] a PUBLISH at QoS 0 has no identifier.
	if p.QoS > AtMostOnce {
		dst = binary.BigEndian.AppendUint16(dst, p.ID)
	}
	return dst
}

// ParsePublish parses a PUBLISH. Payload points into f.Body; an empty payload is nil. t interns the
// topic; it may be nil. Both versions have the same layout and the same rules.
func ParsePublish(f Frame, _ Version, t *Topics) (Publish, error) {
	if f.Type() != TypePublish {
		return Publish{}, unexpected(f, TypePublish)
	}
	p := Publish{DUP: f.Header&flagDUP != 0}
	p.QoS = QoS(f.Header >> 1 & 3)
	p.Retain = f.Header&flagRetain != 0

	c := cursor{b: f.Body}
	topic := c.field()
	if p.QoS > AtMostOnce {
		p.ID = c.uint16()
	}
	if c.bad {
		return Publish{}, cutShort(TypePublish)
	}
	switch {
	case p.QoS > ExactlyOnce:
		return Publish{}, &ProtocolError{TypePublish, "QoS 3"} // [MQTT-3.3.1-4]
	case p.QoS == AtMostOnce && p.DUP:
		return Publish{}, &ProtocolError{TypePublish, "DUP set at QoS 0"} // [MQTT-3.3.1-2]
	case p.QoS != AtMostOnce && p.ID == 0:
		return Publish{}, &ProtocolError{TypePublish, "packet identifier 0"} // [MQTT-2.3.1-1]
	}
	var fault string
	if p.Topic, fault = t.topic(topic); fault != "" {
		return Publish{}, &ProtocolError{TypePublish, "topic " + fault}
	}
	if len(c.b) > 0 {
		p.Payload = c.b // an empty slice would keep the whole buffer in memory
	}
	return p, nil
}
