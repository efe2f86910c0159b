package frames

// Unsubscribe is UNSUBSCRIBE (section 3.10). The broker answers with an [Ack] of kind TypeUnsuback.
type Unsubscribe struct {
	ID     uint16   // 1 to 65,535
	DUP    bool     // the packet was sent before; Append ignores DUP on 3.1.1
	Topics []string // filters, byte for byte as in SUBSCRIBE
}

// Type returns TypeUnsubscribe.
func (Unsubscribe) Type() Type { return TypeUnsubscribe }

// Append appends the packet. It checks the identifier, the lengths, and that there is at least one
// filter. To check the text of a filter, use [ValidTopicFilter].
func (u Unsubscribe) Append(dst []byte, v Version) ([]byte, error) {
	if len(u.Topics) == 0 {
		return dst, noFilters() // [MQTT-3.10.3-2]
	}
	n := 2
	for _, topic := range u.Topics {
		if err := checkLength("filter", len(topic)); err != nil {
			return dst, err
		}
		if n += 2 + len(topic); n > MaxRemaining {
			return dst, tooLong(n)
		}
	}
	packet, err := appendRequest(dst, TypeUnsubscribe, u.ID, u.DUP, n, v)
	if err != nil {
		return dst, err
	}
	for _, topic := range u.Topics {
		packet = appendField(packet, topic)
	}
	return packet, nil
}

// ParseUnsubscribe parses an UNSUBSCRIBE.
func ParseUnsubscribe(f Frame, v Version) (Unsubscribe, error) {
	const t = TypeUnsubscribe
	if err := f.expect(t, v); err != nil {
		return Unsubscribe{}, err
	}
	u := Unsubscribe{DUP: f.Header&flagDUP != 0}
	c := cursor{b: f.Body}
	u.ID = c.uint16()
	for len(c.b) > 0 {
		u.Topics = append(u.Topics, string(c.field()))
	}
	if err := c.end(t); err != nil {
		return Unsubscribe{}, err
	}
	if u.ID == 0 {
		return Unsubscribe{}, &ProtocolError{t, "packet identifier 0"} // [MQTT-2.3.1-1]
	}
	if len(u.Topics) == 0 {
		return Unsubscribe{}, &ProtocolError{t, "no filters"} // [MQTT-3.10.3-2]
	}
	for _, topic := range u.Topics {
		if fault := filterFault(topic); fault != "" {
			return Unsubscribe{}, &ProtocolError{t, "filter " + fault} // [MQTT-3.10.3-1]
		}
	}
	return u, nil
}
