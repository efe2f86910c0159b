package frames

// Pingreq is PINGREQ, by which a client shows that it is alive (section 3.12).
type Pingreq struct{}

// Pingresp is PINGRESP, the answer to PINGREQ (section 3.13).
type Pingresp struct{}

// Disconnect is DISCONNECT, the last packet from a client; it makes the broker discard the will
// (section 3.14).
type Disconnect struct{}

// Type returns TypePingreq.
func (Pingreq) Type() Type { return TypePingreq }

// Type returns TypePingresp.
func (Pingresp) Type() Type { return TypePingresp }

// Type returns TypeDisconnect.
func (Disconnect) Type() Type { return TypeDisconnect }

// Append appends the packet. It never fails.
func (Pingreq) Append(dst []byte, _ Version) ([]byte, error) {
	return appendEmpty(dst, TypePingreq), nil
}

// Append appends the packet. It never fails.
func (Pingresp) Append(dst []byte, _ Version) ([]byte, error) {
	return appendEmpty(dst, TypePingresp), nil
}

// Append appends the packet [MQTT-3.14.1-1]. It never fails.
func (Disconnect) Append(dst []byte, _ Version) ([]byte, error) {
	return appendEmpty(dst, TypeDisconnect), nil
}

func appendEmpty(dst []byte, t Type) []byte { return append(dst, t.first(), 0) }

// ParseEmpty checks a PINGREQ, PINGRESP or DISCONNECT, which have no fields.
func ParseEmpty(f Frame) error {
	t := f.Type()
	switch t {
	case TypePingreq, TypePingresp, TypeDisconnect:
	default:
		return unexpected(f, TypePingresp)
	}
	if err := f.expect(t, V311); err != nil {
		return err
	}
	c := cursor{b: f.Body}
	return c.end(t)
}
