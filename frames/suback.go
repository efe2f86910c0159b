package frames

import (
	"encoding/binary"
	"fmt"
)

// Suback is SUBACK (section 3.9).
type Suback struct {
	ID      uint16 // that of the SUBSCRIBE, 1 to 65,535
	Granted []QoS  // one for each filter, in their order; Refused: that filter was turned down
}

// Type is TypeSuback.
func (Suback) Type() Type { return TypeSuback }

// Append appends the packet. The codes are written as they are, reserved ones too.
func (s Suback) Append(dst []byte, _ Version) ([]byte, error) {
	if s.ID == 0 {
		return dst, zeroID()
	}
	if len(s.Granted) == 0 {
		return dst, &InvalidError{Field: "granted", Reason: "no codes given"}
	}
	n := 2 + len(s.Granted)
	if n > MaxRemaining {
		return dst, tooLong(n)
	}
	dst = appendLength(append(dst, TypeSuback.first()), n)
	dst = binary.BigEndian.AppendUint16(dst, s.ID)
	for _, q := range s.Granted {
		dst = append(dst, byte(q))
	}
	return dst, nil
}

// ParseSuback takes a SUBACK apart. Whether there is one code for each filter is for the one who asked to say. 3.1 has
// no code for a refusal, but its brokers send 0x80 all the same, so both versions take it.
func ParseSuback(f Frame, v Version) (Suback, error) {
	const t = TypeSuback
	if err := f.expect(t, v); err != nil {
		return Suback{}, err
	}
	c := cursor{b: f.Body}
	s := Suback{ID: c.uint16()}
	if c.bad {
		return Suback{}, cutShort(t)
	}
	if s.ID == 0 {
		return Suback{}, &ProtocolError{t, "packet identifier 0"} // [MQTT-3.8.4-2] it repeats one that is not 0
	}
	if len(c.b) == 0 {
		return Suback{}, &ProtocolError{t, "no codes"} // [MQTT-3.8.4-5] one for each filter, of which there is one
	}
	s.Granted = make([]QoS, len(c.b))
	for i, code := range c.b {
		s.Granted[i] = QoS(code)
		// [MQTT-3.9.3-2] 0, 1, 2 and 0x80 are all there are.
		if s.Granted[i] > ExactlyOnce && s.Granted[i] != Refused {
			return Suback{}, &ProtocolError{t, fmt.Sprintf("reserved code %#02x", code)}
		}
	}
	return s, nil
}
