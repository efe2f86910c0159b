package frames

import (
	"encoding/binary"
	"fmt"
)

// Suback is SUBACK (section 3.9).
type Suback struct {
	ID         uint16         // the identifier of the SUBSCRIBE, 1 to 65,535
	Codes      []ReasonCode   // one for each filter, in order: the granted QoS or an error
	Properties *AckProperties // MQTT 5; nil is none
}

// Unsuback is UNSUBACK (section 3.11).
type Unsuback struct {
	ID         uint16         // the identifier of the UNSUBSCRIBE, 1 to 65,535
	Codes      []ReasonCode   // one for each filter, in order; none before MQTT 5
	Properties *AckProperties // MQTT 5; nil is none
}

// Type returns TypeSuback.
func (Suback) Type() Type { return TypeSuback }

// Type returns TypeUnsuback.
func (Unsuback) Type() Type { return TypeUnsuback }

// Append appends the packet. It writes all codes unchecked, even reserved codes.
func (s Suback) Append(dst []byte, v Version) ([]byte, error) {
	if s.ID == 0 {
		return dst, zeroID()
	}
	if len(s.Codes) == 0 {
		return dst, &InvalidError{Field: "codes", Reason: "no codes given"}
	}
	return appendCodes(dst, TypeSuback, s.ID, s.Codes, s.Properties, v)
}

// Append appends the packet. Before MQTT 5 it has no codes. It writes all codes unchecked.
func (u Unsuback) Append(dst []byte, v Version) ([]byte, error) {
	if u.ID == 0 {
		return dst, zeroID()
	}
	if v < V5 {
		u.Codes = nil
	} else if len(u.Codes) == 0 {
		return dst, &InvalidError{Field: "codes", Reason: "no codes given"}
	}
	return appendCodes(dst, TypeUnsuback, u.ID, u.Codes, u.Properties, v)
}

func appendCodes(dst []byte, t Type, id uint16, codes []ReasonCode, p *AckProperties, v Version) ([]byte, error) {
	n, properties := 2+len(codes), 0
	if v >= V5 {
		if err := p.validate(); err != nil {
			return dst, err
		}
		var whole int
		properties, whole = measureProperties(p)
		n += whole
	}
	if n > MaxRemaining {
		return dst, tooLong(n)
	}
	dst = appendLength(append(dst, t.first()), n)
	dst = binary.BigEndian.AppendUint16(dst, id)
	if v >= V5 {
		dst = appendProperties(dst, p, properties)
	}
	for _, c := range codes {
		dst = append(dst, byte(c))
	}
	return dst, nil
}

// ParseSuback parses a SUBACK. The caller must check the number of codes. 3.1 has no code for a
// refusal, but brokers send 0x80 there too, so ParseSuback accepts 0x80 in all versions.
func ParseSuback(f Frame, v Version) (Suback, error) {
	id, codes, p, err := parseCodes(f, TypeSuback, v)
	if err != nil {
		return Suback{}, err
	}
	if len(codes) == 0 {
		// [MQTT-3.8.4-5] a SUBACK has one code for each filter, so at least one.
		return Suback{}, violation(TypeSuback, "no codes")
	}
	s := Suback{id, make([]ReasonCode, len(codes)), p}
	for i, code := range codes {
		s.Codes[i] = ReasonCode(code)
		// [MQTT-3.9.3-2] before MQTT 5 all codes except 0, 1, 2 and 0x80 are reserved, and then the
		// codes below 0x80.
		refused := s.Codes[i] == UnspecifiedError || v >= V5 && s.Codes[i] > UnspecifiedError
		if code > byte(ExactlyOnce) && !refused {
			return Suback{}, violation(TypeSuback, fmt.Sprintf("reserved code %#02x", code))
		}
	}
	return s, nil
}

// ParseUnsuback parses an UNSUBACK. The caller must check the number of codes. A code of 0x80 or
// above is a refusal, also if UNSUBACK does not have it.
func ParseUnsuback(f Frame, v Version) (Unsuback, error) {
	id, codes, p, err := parseCodes(f, TypeUnsuback, v)
	if err != nil {
		return Unsuback{}, err
	}
	u := Unsuback{ID: id, Properties: p}
	switch {
	case v < V5 && len(codes) > 0:
		return Unsuback{}, malformed(TypeUnsuback, fmt.Sprintf("%d bytes after its end", len(codes)))
	case v >= V5 && len(codes) == 0:
		return Unsuback{}, violation(TypeUnsuback, "no codes")
	}
	for _, code := range codes {
		c := ReasonCode(code)
		if c != Success && c != NoSubscriptionExisted && c < UnspecifiedError { // [MQTT-3.11.3-2]
			return Unsuback{}, violation(TypeUnsuback, fmt.Sprintf("reserved code %#02x", code))
		}
		u.Codes = append(u.Codes, c)
	}
	return u, nil
}

// parseCodes reads a SUBACK or an UNSUBACK.
func parseCodes(f Frame, t Type, v Version) (id uint16, codes []byte, p *AckProperties, err error) {
	if err := f.expect(t, v); err != nil {
		return 0, nil, nil, err
	}
	c := cursor{b: f.Body}
	id = c.uint16()
	if v >= V5 {
		if p, err = c.ackProperties(t); err != nil {
			return 0, nil, nil, err
		}
	}
	if c.bad {
		return 0, nil, nil, cutShort(t)
	}
	if id == 0 {
		// [MQTT-3.8.4-2] the identifier is that of the request, which is never 0.
		return 0, nil, nil, violation(t, "packet identifier 0")
	}
	return id, c.b, p, nil
}
