package frames

// ConnectProperties are the properties of CONNECT, and the delay of the will (MQTT 5, sections
// 3.1.2.11 and 3.1.3.2.2). The zero value of each field says that the property is absent.
type ConnectProperties struct {
	SessionExpiry              uint32 // seconds that the session outlives the connection; 4,294,967,295 is for ever
	ReceiveMaximum             uint16 // QoS 1 and 2 messages that the client takes at a time; absent: 65,535
	MaximumPacket              uint32 // of a packet that the client takes, in bytes; absent: no limit
	TopicAliasMaximum          uint16
	RequestResponseInformation bool
	NoProblemInformation       bool // the broker sends reason strings and user properties only in PUBLISH, CONNACK and DISCONNECT
	User                       []UserProperty
	AuthMethod                 string
	AuthData                   []byte // nil is none

	WillDelay uint32 // seconds between the end of the connection and the will
}

func (p *ConnectProperties) write(w *propertyWriter) {
	if p == nil {
		return
	}
	if p.SessionExpiry != 0 {
		w.uint32(propSessionExpiry, p.SessionExpiry)
	}
	if p.ReceiveMaximum != 0 {
		w.uint16(propReceiveMaximum, p.ReceiveMaximum)
	}
	if p.MaximumPacket != 0 {
		w.uint32(propMaximumPacket, p.MaximumPacket)
	}
	if p.TopicAliasMaximum != 0 {
		w.uint16(propTopicAliasMaximum, p.TopicAliasMaximum)
	}
	w.flag(propRequestResponse, p.RequestResponseInformation)
	w.refusal(propRequestProblem, p.NoProblemInformation)
	w.user(p.User)
	if p.AuthMethod != "" || p.AuthData != nil {
		w.method(p.AuthMethod)
	}
	w.data(propAuthData, p.AuthData)
}

func (p *ConnectProperties) validate() error {
	if p == nil {
		return nil
	}
	if err := ValidString("authentication method", p.AuthMethod); err != nil {
		return err
	}
	if p.AuthData != nil && p.AuthMethod == "" { // section 3.1.2.11.10
		return &InvalidError{Field: "authentication data", Reason: "given without an authentication method"}
	}
	if err := checkLength("authentication data", len(p.AuthData)); err != nil {
		return err
	}
	return validUser(p.User)
}

// A willBlock is the property block of a will.
type willBlock struct {
	delay   uint32
	message *Properties
}

func (c *Connect) willBlock() *willBlock {
	b := &willBlock{message: c.Will.Properties}
	if c.Properties != nil {
		b.delay = c.Properties.WillDelay
	}
	return b
}

func (b *willBlock) write(w *propertyWriter) {
	if b.delay != 0 {
		w.uint32(propWillDelay, b.delay)
	}
	if b.message != nil {
		b.message.write(w)
	}
}

// connectProperties reads the properties of a CONNECT. It returns nil for an empty block.
func (c *cursor) connectProperties() (*ConnectProperties, error) {
	const t = TypeConnect
	r := c.properties(t, t)
	var p ConnectProperties
	for x, ok := r.next(); ok; x, ok = r.next() {
		switch x.id {
		case propSessionExpiry:
			p.SessionExpiry = x.number
		case propReceiveMaximum:
			p.ReceiveMaximum = uint16(x.number)
		case propMaximumPacket:
			p.MaximumPacket = x.number
		case propTopicAliasMaximum:
			p.TopicAliasMaximum = uint16(x.number)
		case propRequestResponse:
			p.RequestResponseInformation = x.number == 1
		case propRequestProblem:
			p.NoProblemInformation = x.number == 0
		case propUser:
			p.User = append(p.User, x.user())
		case propAuthMethod:
			p.AuthMethod = string(x.value)
		case propAuthData:
			p.AuthData = x.value
		}
	}
	r.checkAuth()
	if r.err != nil || writesNothing(&p) {
		return nil, r.err
	}
	return &p, nil
}

// parseWill reads the properties of the will.
func (c *Connect) parseWill(in *cursor) error {
	r := in.properties(TypeConnect, willProperties)
	var props *Properties
	texts := texts{room: len(r.in.b)}
	for x, ok := r.next(); ok; x, ok = r.next() {
		if x.id == propWillDelay {
			if x.number == 0 {
				continue
			}
			if c.Properties == nil {
				c.Properties = new(ConnectProperties)
			}
			c.Properties.WillDelay = x.number
			continue
		}
		if props == nil {
			props = new(Properties)
		}
		props.take(&x, &texts)
	}
	if r.err != nil {
		return r.err
	}
	if props != nil && !props.blank() {
		c.Will.Properties = props
	}
	return props.fault(TypeConnect, &r)
}
