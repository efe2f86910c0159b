package frames

// Ack is one of the five packets that hold only an identifier: PUBACK, PUBREC, PUBREL, PUBCOMP
// (sections 3.4 to 3.7) and UNSUBACK (3.11).
type Ack struct {
	Kind Type
	ID   uint16 // the identifier of the acknowledged packet, 1 to 65,535
	DUP  bool   // a PUBREL of 3.1 was sent before; Append ignores DUP in other packets
}

// Type returns Kind.
func (a Ack) Type() Type { return a.Kind }

func isAck(t Type) bool {
	return t >= TypePuback && t <= TypePubcomp || t == TypeUnsuback
}

// Append appends the packet.
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
	return append(dst, first, 2, byte(a.ID>>8), byte(a.ID)), nil
}

// ParseAck parses a PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK.
func ParseAck(f Frame, v Version) (Ack, error) {
	a := Ack{Kind: f.Type()}
	if !isAck(a.Kind) {
		if !a.Kind.known() {
			return Ack{}, reservedType(f.Header)
		}
		return Ack{}, &ProtocolError{a.Kind, "came in place of an acknowledgment"}
	}
	if err := f.expect(a.Kind, v); err != nil {
		return Ack{}, err
	}
	a.DUP = f.Header&flagDUP != 0
	c := cursor{b: f.Body}
	a.ID = c.uint16()
	if err := c.end(a.Kind); err != nil {
		return Ack{}, err
	}
	// [MQTT-2.3.1-6] an ack has the identifier of the acknowledged packet, which is never 0.
	if a.ID == 0 {
		return Ack{}, &ProtocolError{a.Kind, "packet identifier 0"}
	}
	return a, nil
}
