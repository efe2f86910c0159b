package frames

import (
	"encoding/binary"
	"slices"
)

// Publish is PUBLISH, in either direction (section 3.3).
type Publish struct {
	Message
	DUP   bool   // the packet may have been sent before; never set at QoS 0
	ID    uint16 // 1 to 65,535 at QoS 1 and 2; ignored at QoS 0
	Alias uint16 // MQTT 5: the topic alias, which stands for the topic if that is empty; 0 is none
}

// Type returns TypePublish.
func (Publish) Type() Type { return TypePublish }

// Append appends the packet. It checks QoS, DUP, identifier and lengths; Validate checks the topic
// and the properties. Before MQTT 5 it ignores Properties and Alias.
func (p Publish) Append(dst []byte, v Version) ([]byte, error) {
	n, err := p.check(v)
	if err != nil {
		return dst, err
	}
	dst = slices.Grow(dst, 5+n) // the only allocation, and only for a valid length
	return append(p.appendHeader(dst, n, v), p.Payload...), nil
}

// AppendHeader appends the packet without its payload. The caller writes the payload after it, so
// that a large payload is not copied. It makes the same checks as Append and returns the same
// errors.
func (p Publish) AppendHeader(dst []byte, v Version) ([]byte, error) {
	n, err := p.check(v)
	if err != nil {
		return dst, err
	}
	return p.appendHeader(dst, n, v), nil
}

// check returns the remaining length of p, or an error if p cannot be encoded.
func (p *Publish) check(v Version) (remaining int, err error) {
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
	n, err := p.remaining(v)
	if err != nil || v < V5 || p.Alias == 0 {
		return n, err
	}
	block := p.Properties.size()
	if n += aliasSize + varintSize(block+aliasSize) - varintSize(block); n > MaxRemaining {
		return 0, tooLong(n)
	}
	return n, nil
}

// aliasSize is the size of the property topic alias.
const aliasSize = 3

// appendProperties appends the property block of MQTT 5.
func (p *Publish) appendProperties(dst []byte) []byte {
	n := p.Properties.size()
	if p.Alias != 0 {
		dst = append(appendLength(dst, n+aliasSize), byte(propTopicAlias), byte(p.Alias>>8), byte(p.Alias))
	} else {
		dst = appendLength(dst, n)
	}
	if n == 0 {
		return dst
	}
	w := propertyWriter{dst: dst}
	p.Properties.write(&w)
	return w.dst
}

func (p *Publish) appendHeader(dst []byte, remaining int, v Version) []byte {
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
	switch {
	case v < V5:
	case p.Properties == nil && p.Alias == 0:
		dst = append(dst, 0)
	default:
		dst = p.appendProperties(dst)
	}
	return dst
}

// ParsePublish parses a PUBLISH. Payload and correlation data point into f.Body; an empty payload
// is nil. t interns the topic; it may be nil. On MQTT 5, aliases resolves a topic alias; nil
// accepts none.
func ParsePublish(f Frame, v Version, t *Topics, aliases *Aliases) (Publish, error) {
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
	if v >= V5 {
		if err := p.parseProperties(&c, t); err != nil {
			return Publish{}, err
		}
	}
	if c.bad {
		return Publish{}, cutShort(TypePublish)
	}
	switch {
	case p.QoS > ExactlyOnce:
		return Publish{}, malformed(TypePublish, "QoS 3") // [MQTT-3.3.1-4]
	case p.QoS == AtMostOnce && p.DUP:
		return Publish{}, violation(TypePublish, "DUP set at QoS 0") // [MQTT-3.3.1-2]
	case p.QoS != AtMostOnce && p.ID == 0:
		return Publish{}, violation(TypePublish, "packet identifier 0") // [MQTT-2.3.1-1]
	}
	if err := p.resolve(topic, t, aliases); err != nil {
		return Publish{}, err
	}
	if len(c.b) > 0 {
		p.Payload = c.b // an empty slice would keep the whole buffer in memory
	}
	return p, nil
}

// resolve sets the topic, which may be empty if there is a topic alias.
func (p *Publish) resolve(topic []byte, t *Topics, aliases *Aliases) error {
	if len(topic) == 0 && p.Alias != 0 {
		var err error
		p.Topic, err = aliases.lookup(p.Alias)
		return err
	}
	var fault string
	if p.Topic, fault = t.topic(topic); fault != "" {
		if fault == notUTF8 {
			return malformed(TypePublish, "topic "+fault)
		}
		return violation(TypePublish, "topic "+fault)
	}
	if p.Alias != 0 {
		return aliases.set(p.Alias, p.Topic)
	}
	return nil
}

// parseProperties reads the property block of a PUBLISH.
func (p *Publish) parseProperties(c *cursor, t *Topics) error {
	if len(c.b) > 0 && c.b[0] == 0 { // no properties
		c.b = c.b[1:]
		return nil
	}
	if t != nil && t.block.find(c.b) {
		p.Properties, p.Alias = t.block.properties, t.block.alias
		c.b = c.b[len(t.block.bytes):]
		return nil
	}
	block := c.b
	r := c.properties(TypePublish, TypePublish)
	var props *Properties
	texts := texts{room: len(r.in.b)}
	for x, ok := r.next(); ok; x, ok = r.next() {
		if x.id == propTopicAlias {
			if p.Alias = uint16(x.number); p.Alias == 0 {
				return aliasInvalid("0") // [MQTT-3.3.2-8]
			}
			continue
		}
		if props == nil {
			props = new(Properties)
		}
		props.take(&x, &texts)
	}
	if r.err != nil {
		return r.err
	}
	if props != nil && !props.blank() {
		p.Properties = props
	}
	if err := props.fault(TypePublish, &r); err != nil {
		return err
	}
	if t != nil && !c.bad {
		t.keep(block[:len(block)-len(c.b)], p)
	}
	return nil
}
