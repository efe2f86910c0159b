package frames

import "encoding/binary"

// Packet is one control packet: Connect, Connack, Publish, Ack, Subscribe, Suback, Unsubscribe,
// Unsuback, Pingreq, Pingresp, Disconnect or Auth.
type Packet interface {
	Type() Type

	// Append appends the packet in the encoding of version v. On error it returns dst unchanged and
	// an *InvalidError.
	Append(dst []byte, v Version) ([]byte, error)
}

// Parse parses any packet, from a client or a broker. It accepts no topic alias. Byte slices in the
// result point into f.Body. The error is a *ProtocolError.
func Parse(f Frame, v Version) (Packet, error) {
	switch f.Type() {
	case TypeConnect:
		return packet(ParseConnect(f))
	case TypeConnack:
		return packet(ParseConnack(f, v))
	case TypePublish:
		return packet(ParsePublish(f, v, nil, nil))
	case TypePuback, TypePubrec, TypePubrel, TypePubcomp:
		return packet(ParseAck(f, v))
	case TypeSubscribe:
		return packet(ParseSubscribe(f, v))
	case TypeSuback:
		return packet(ParseSuback(f, v))
	case TypeUnsubscribe:
		return packet(ParseUnsubscribe(f, v))
	case TypeUnsuback:
		return packet(ParseUnsuback(f, v))
	case TypePingreq:
		return packet(Pingreq{}, ParseEmpty(f))
	case TypePingresp:
		return packet(Pingresp{}, ParseEmpty(f))
	case TypeDisconnect:
		return packet(ParseDisconnect(f, v))
	case TypeAuth:
		return packet(ParseAuth(f, v))
	}
	return nil, reservedType(f.Header)
}

// packet returns p and err, but a nil Packet if err is not nil.
func packet[P Packet](p P, err error) (Packet, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// appendLength appends a remaining length (section 2.2.3), which is encoded like a Go uvarint.
func appendLength(dst []byte, n int) []byte {
	return binary.AppendUvarint(dst, uint64(n))
}

// appendField appends the length of s in two bytes, and then s (section 1.5.3). The caller has
// checked the length.
func appendField[T string | []byte](dst []byte, s T) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}
