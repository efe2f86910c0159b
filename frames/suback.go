package frames

import (
	"encoding/binary"
	"fmt"
)

// Suback is SUBACK (section 3.9).
type Suback struct {
	ID    uint16       // that of the SUBSCRIBE, 1 to 65,535
	Codes []ReasonCode // one for each filter, in their order: the granted QoS, or an error that refuses the filter
}

// Type is TypeSuback.
func (Suback) Type() Type { return TypeSuback }

// Append appends the packet. The codes are written as they are, reserved ones too.
func (s Suback) Append(dst []byte, _ Version) ([]byte, error) {
	if s.ID == 0 {
		return dst, zeroID()
	}
	if len(s.Codes) == 0 {
		return dst, &InvalidError{Field: "codes", Reason: "no codes given"}
	}
	n := 2 + len(s.Codes)
	if n > MaxRemaining {
		return dst, tooLong(n)
	}
	dst = appendLength(append(dst, TypeSuback.first()), n)
	dst = binary.BigEndian.AppendUint16(dst, s.ID)
	for _, c := range s.Codes {
		dst = append(dst, byte(c))
	}
	return dst, nil
}

// ParseSuback parses a SUBACK. The caller knows whether there is one code for each filter. 3.1 has no code for a refusal,
// but its brokers send 0x80 all the same, so both versions accept it.
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
	s.Codes = make([]ReasonCode, len(c.b))
	for i, code := range c.b {
		s.Codes[i] = ReasonCode(code)
		// [MQTT-3.9.3-2] 0, 1, 2 and 0x80 are all there are.
		if code > byte(ExactlyOnce) && s.Codes[i] != UnspecifiedError {
			return Suback{}, &ProtocolError{t, fmt.Sprintf("reserved code %#02x", code)}
		}
	}
	return s, nil
}
