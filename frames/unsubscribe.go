package frames

// Unsubscribe is UNSUBSCRIBE (section 3.10). The broker answers with an [Unsuback].
type Unsubscribe struct {
	ID     uint16         // 1 to 65,535
	DUP    bool           // 3.1: the packet was sent before
	Topics []string       // filters, byte for byte as in SUBSCRIBE
	User   []UserProperty // MQTT 5
}

func (u *Unsubscribe) write(w *propertyWriter) { w.user(u.User) }

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
	packet, err := appendRequest(dst, request{TypeUnsubscribe, u.ID, u.DUP, n, u.User, &u}, v)
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
	if v >= V5 {
		r := c.properties(t, t)
		if _, u.User = r.parseReason(); r.err != nil {
			return Unsubscribe{}, r.err
		}
	}
	for len(c.b) > 0 {
		u.Topics = append(u.Topics, string(c.field()))
	}
	if err := c.end(t); err != nil {
		return Unsubscribe{}, err
	}
	if u.ID == 0 {
		return Unsubscribe{}, violation(t, "packet identifier 0") // [MQTT-2.3.1-1]
	}
	if len(u.Topics) == 0 {
		return Unsubscribe{}, violation(t, "no filters") // [MQTT-3.10.3-2]
	}
	for _, topic := range u.Topics {
		if fault := filterFault(topic); fault != "" {
			return Unsubscribe{}, violation(t, "filter "+fault) // [MQTT-3.10.3-1]
		}
	}
	return u, nil
}
