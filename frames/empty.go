package frames

// Pingreq is PINGREQ, by which a client shows that it is alive (section 3.12).
type Pingreq struct{}

// Pingresp is PINGRESP, the answer to PINGREQ (section 3.13).
type Pingresp struct{}

// Type returns TypePingreq.
func (Pingreq) Type() Type { return TypePingreq }

// Type returns TypePingresp.
func (Pingresp) Type() Type { return TypePingresp }

// Append appends the packet. It never fails.
func (Pingreq) Append(dst []byte, _ Version) ([]byte, error) {
	return appendEmpty(dst, TypePingreq), nil
}

// Append appends the packet. It never fails.
func (Pingresp) Append(dst []byte, _ Version) ([]byte, error) {
	return appendEmpty(dst, TypePingresp), nil
}

func appendEmpty(dst []byte, t Type) []byte { return append(dst, t.first(), 0) }

// ParseEmpty checks a PINGREQ or a PINGRESP, which have no fields.
func ParseEmpty(f Frame) error {
	t := f.Type()
	switch t {
	case TypePingreq, TypePingresp:
	default:
		return unexpected(f, TypePingresp)
	}
	if err := f.expect(t, V311); err != nil {
		return err
	}
	c := cursor{b: f.Body}
	return c.end(t)
}
