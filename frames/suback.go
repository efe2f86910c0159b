package frames

import (
	"encoding/binary"
	"fmt"
)

// Suback is SUBACK (section 3.9).
type Suback struct {
	ID    uint16       // the identifier of the SUBSCRIBE, 1 to 65,535
	Codes []ReasonCode // one for each filter, in order: the granted QoS or an error
}

// Type returns TypeSuback.
func (Suback) Type() Type { return TypeSuback }

// Append appends the packet. It writes all codes unchecked, even reserved codes.
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

// ParseSuback parses a SUBACK. The caller must check the number of codes. 3.1 has no code for a
// refusal, but brokers send 0x80 there too, so ParseSuback accepts 0x80 in both versions.
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
		// [MQTT-3.8.4-2] a SUBACK has the identifier of its SUBSCRIBE, which is never 0.
		return Suback{}, &ProtocolError{t, "packet identifier 0"}
	}
	if len(c.b) == 0 {
		// [MQTT-3.8.4-5] a SUBACK has one code for each filter, so at least one.
		return Suback{}, &ProtocolError{t, "no codes"}
	}
	s.Codes = make([]ReasonCode, len(c.b))
	for i, code := range c.b {
		s.Codes[i] = ReasonCode(code)
		// [MQTT-3.9.3-2] all codes except 0, 1, 2 and 0x80 are reserved.
		if code > byte(ExactlyOnce) && s.Codes[i] != UnspecifiedError {
			return Suback{}, &ProtocolError{t, fmt.Sprintf("reserved code %#02x", code)}
		}
	}
	return s, nil
}
