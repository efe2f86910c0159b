package frames

import (
	"encoding/binary"
	"fmt"
)

// Ack is PUBACK, PUBREC, PUBREL or PUBCOMP (sections 3.4 to 3.7).
type Ack struct {
	Kind Type
	ID   uint16 // the identifier of the acknowledged packet, 1 to 65,535
	DUP  bool   // a PUBREL of 3.1 was sent before; Append ignores DUP in other packets
	AckReason
}

// AckReason is the part of an Ack that only MQTT 5 has. It is a struct of its own because the
// compiler keeps a struct of at most four fields in registers, which takes a fifth off the time in
// which flow receives a message.
type AckReason struct {
	Code       ReasonCode     // Success before MQTT 5
	Properties *AckProperties // nil is none
}

// AckProperties are the properties of PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK.
type AckProperties struct {
	Reason string // the reason string; for people, not for programs
	User   []UserProperty
}

func (p *AckProperties) write(w *propertyWriter) {
	if p != nil {
		w.text(propReasonString, p.Reason)
		w.user(p.User)
	}
}

// validate checks that p can be sent.
func (p *AckProperties) validate() error {
	if p == nil {
		return nil
	}
	if err := ValidString("reason string", p.Reason); err != nil {
		return err
	}
	return validUser(p.User)
}

// ackProperties reads the properties of an ack. It returns nil for an empty block.
func (c *cursor) ackProperties(t Type) (*AckProperties, error) {
	r := c.properties(t, t)
	reason, user := r.parseReason()
	if r.err != nil || reason == "" && user == nil {
		return nil, r.err
	}
	return &AckProperties{reason, user}, nil
}

// Type returns Kind.
func (a Ack) Type() Type { return a.Kind }

func isAck(t Type) bool { return t >= TypePuback && t <= TypePubcomp }

// Append appends the packet. Before MQTT 5 it ignores Code and Properties.
func (a Ack) Append(dst []byte, v Version) ([]byte, error) {
	if !isAck(a.Kind) {
		return dst, &InvalidError{Field: "kind", Reason: a.Kind.String() + " is not an acknowledgment"}
	}
	if a.ID == 0 {
		return dst, zeroID()
	}
	first := a.Kind.first()
	if a.DUP && a.Kind.hasDUP(v) {
		first |= flagDUP
	}
	if v < V5 || a.Code == Success && a.Properties == nil { // section 3.4.2.1: a code of 0 may be left out
		return append(dst, first, 2, byte(a.ID>>8), byte(a.ID)), nil
	}
	if a.Properties == nil {
		return append(dst, first, 3, byte(a.ID>>8), byte(a.ID), byte(a.Code)), nil
	}
	if err := a.Properties.validate(); err != nil {
		return dst, err
	}
	n, whole := measureProperties(a.Properties)
	if 3+whole > MaxRemaining {
		return dst, tooLong(3 + whole)
	}
	dst = appendLength(append(dst, first), 3+whole)
	dst = append(binary.BigEndian.AppendUint16(dst, a.ID), byte(a.Code))
	return appendProperties(dst, a.Properties, n), nil
}

// ParseAck parses a PUBACK, PUBREC, PUBREL or PUBCOMP. It accepts every reason code of 0x80 and
// above, except that a PUBREL has only PacketIdentifierNotFound (section 3.6.2.1). Below 0x80 a
// PUBREL and a PUBCOMP have only Success (section 3.7.2.1). PUBACK and PUBREC may have every code
// there, since mochi acknowledges a PUBLISH with its QoS.
func ParseAck(f Frame, v Version) (Ack, error) {
	a := Ack{Kind: f.Type()}
	if !isAck(a.Kind) {
		if !a.Kind.knownIn(v) {
			return Ack{}, reservedType(f.Header)
		}
		return Ack{}, violation(a.Kind, "came in place of an acknowledgment")
	}
	if err := f.expect(a.Kind, v); err != nil {
		return Ack{}, err
	}
	a.DUP = f.Header&flagDUP != 0
	c := cursor{b: f.Body}
	a.ID = c.uint16()
	if v >= V5 && len(c.b) > 0 {
		if err := a.parseCode(&c); err != nil {
			return Ack{}, err
		}
	}
	if err := c.end(a.Kind); err != nil {
		return Ack{}, err
	}
	// [MQTT-2.3.1-6] an ack has the identifier of the acknowledged packet, which is never 0.
	if a.ID == 0 {
		return Ack{}, violation(a.Kind, "packet identifier 0")
	}
	return a, nil
}

// parseCode reads the reason code and the properties of MQTT 5.
func (a *Ack) parseCode(c *cursor) (err error) {
	a.Code = ReasonCode(c.uint8())
	ok := true
	switch a.Kind {
	case TypePubrel:
		ok = a.Code == Success || a.Code == PacketIdentifierNotFound // [MQTT-3.6.2-1]
	case TypePubcomp:
		ok = a.Code == Success || a.Code >= UnspecifiedError // [MQTT-3.7.2-1]
	}
	if !ok {
		return violation(a.Kind, fmt.Sprintf("reason code %#02x", byte(a.Code)))
	}
	if len(c.b) > 0 {
		a.Properties, err = c.ackProperties(a.Kind)
	}
	return err
}
