package frames

import "encoding/binary"

// Packet is one control packet: Connect, Connack, Publish, Ack, Subscribe, Suback, Unsubscribe, Pingreq, Pingresp or
// Disconnect.
type Packet interface {
	Type() Type

	// Append appends the packet as version v writes it. On error, an *InvalidError, dst comes back as it was.
	Append(dst []byte, v Version) ([]byte, error)
}

// Parse takes any packet apart, from a client or from a broker. Byte slices in the result point into f.Body. The error
// is a *ProtocolError.
func Parse(f Frame, v Version) (Packet, error) {
	switch f.Type() {
	case TypeConnect:
		return packet(ParseConnect(f))
	case TypeConnack:
		return packet(ParseConnack(f, v))
	case TypePublish:
		return packet(ParsePublish(f, v, nil))
	case TypePuback, TypePubrec, TypePubrel, TypePubcomp, TypeUnsuback:
		return packet(ParseAck(f, v))
	case TypeSubscribe:
		return packet(ParseSubscribe(f, v))
	case TypeSuback:
		return packet(ParseSuback(f, v))
	case TypeUnsubscribe:
		return packet(ParseUnsubscribe(f, v))
	case TypePingreq:
		return packet(Pingreq{}, ParseEmpty(f))
	case TypePingresp:
		return packet(Pingresp{}, ParseEmpty(f))
	case TypeDisconnect:
		return packet(Disconnect{}, ParseEmpty(f))
	}
	return nil, reservedType(f.Header)
}

// packet drops the value that comes with an error.
func packet[P Packet](p P, err error) (Packet, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// appendLength appends a remaining length (section 2.2.3), which is written as Go writes its varints.
func appendLength(dst []byte, n int) []byte {
	return binary.AppendUvarint(dst, uint64(n))
}

// appendField appends a string or other bytes behind their length (section 1.5.3), which has been checked.
func appendField[T string | []byte](dst []byte, s T) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}
