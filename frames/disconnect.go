package frames

// Disconnect is DISCONNECT, the last packet on a connection (section 3.14). Before MQTT 5 only a
// client sends it, and it has no fields. Every DISCONNECT but one with DisconnectWithWill makes the
// broker discard the will.
type Disconnect struct {
	Code            ReasonCode
	SessionExpiry   *uint32 // seconds; nil: as in CONNECT; a broker does not send it [MQTT-3.14.2-2]
	Reason          string  // the reason string
	ServerReference string  // a broker that the client may use; see UseAnotherServer and ServerMoved
	User            []UserProperty
}

// Type returns TypeDisconnect.
func (Disconnect) Type() Type { return TypeDisconnect }

func (d *Disconnect) write(w *propertyWriter) {
	if d.SessionExpiry != nil {
		w.uint32(propSessionExpiry, *d.SessionExpiry)
	}
	w.text(propReasonString, d.Reason)
	w.text(propServerReference, d.ServerReference)
	w.user(d.User)
}

func (d *Disconnect) validate() error {
	if err := ValidString("server reference", d.ServerReference); err != nil {
		return err
	}
	return (&AckProperties{d.Reason, d.User}).validate()
}

// Append appends the packet [MQTT-3.14.1-1]. Before MQTT 5 it ignores all fields.
func (d Disconnect) Append(dst []byte, v Version) ([]byte, error) {
	bare := d.SessionExpiry == nil && d.Reason == "" && d.ServerReference == "" && len(d.User) == 0
	switch {
	case v < V5, bare && d.Code == Success: // section 3.14.2.1
		return appendEmpty(dst, TypeDisconnect), nil
	case bare:
		return append(dst, TypeDisconnect.first(), 1, byte(d.Code)), nil
	}
	if err := d.validate(); err != nil {
		return dst, err
	}
	return appendCoded(dst, TypeDisconnect, d.Code, &d)
}

// ParseDisconnect parses a DISCONNECT. It accepts every reason code.
func ParseDisconnect(f Frame, v Version) (Disconnect, error) {
	const t = TypeDisconnect
	if err := f.expect(t, v); err != nil {
		return Disconnect{}, err
	}
	var d Disconnect
	c := cursor{b: f.Body}
	if v < V5 || len(c.b) == 0 {
		return d, c.end(t)
	}
	d.Code = ReasonCode(c.uint8())
	if len(c.b) == 0 {
		return d, nil
	}
	r := c.properties(t, t)
	for x, ok := r.next(); ok; x, ok = r.next() {
		switch x.id {
		case propSessionExpiry:
			n := x.number
			d.SessionExpiry = &n
		case propReasonString:
			d.Reason = string(x.value)
		case propServerReference:
			d.ServerReference = string(x.value)
		case propUser:
			d.User = append(d.User, x.user())
		}
	}
	if err := c.ended(t, &r); err != nil {
		return Disconnect{}, err
	}
	return d, nil
}
