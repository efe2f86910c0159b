package frames

import "fmt"

// Connack is CONNACK, the first packet from a broker (section 3.2).
type Connack struct {
	SessionPresent bool               // the broker has the session of this client; not in 3.1
	Code           ReasonCode         // every code except Success refuses the connection
	Properties     *ConnackProperties // MQTT 5; nil is none
}

// ConnackProperties are the properties of CONNACK (MQTT 5, section 3.2.2.3). The zero value of each
// field says that the property is absent.
type ConnackProperties struct {
	SessionExpiry         *uint32 // seconds; absent: as in CONNECT
	ReceiveMaximum        uint16  // QoS 1 and 2 publications that the broker takes at a time; absent: 65,535
	MaximumQoS            *QoS    // AtMostOnce or AtLeastOnce; absent: ExactlyOnce
	NoRetain              bool    // the broker does not retain messages
	MaximumPacket         uint32  // of a packet that the broker takes, in bytes; absent: no limit
	AssignedClientID      string  // for a client that has sent an empty one
	TopicAliasMaximum     uint16
	Reason                string // the reason string
	User                  []UserProperty
	NoWildcards           bool // the broker does not support wildcards in filters
	NoSubscriptionIDs     bool
	NoSharedSubscriptions bool
	ServerKeepAlive       *uint16 // seconds, in place of the client's; 0 is off
	ResponseInformation   string
	ServerReference       string // a broker that the client may use
	AuthMethod            string
	AuthData              []byte // nil is none
}

// connackSession is the only flag of CONNACK (section 3.2.2.1).
const connackSession byte = 1

// Type returns TypeConnack.
func (Connack) Type() Type { return TypeConnack }

func (p *ConnackProperties) write(w *propertyWriter) {
	if p == nil {
		return
	}
	if p.SessionExpiry != nil {
		w.uint32(propSessionExpiry, *p.SessionExpiry)
	}
	if p.ReceiveMaximum != 0 {
		w.uint16(propReceiveMaximum, p.ReceiveMaximum)
	}
	if p.MaximumQoS != nil {
		w.byte(propMaximumQoS, byte(*p.MaximumQoS))
	}
	w.refusal(propRetainAvailable, p.NoRetain)
	if p.MaximumPacket != 0 {
		w.uint32(propMaximumPacket, p.MaximumPacket)
	}
	w.text(propAssignedClientID, p.AssignedClientID)
	if p.TopicAliasMaximum != 0 {
		w.uint16(propTopicAliasMaximum, p.TopicAliasMaximum)
	}
	w.text(propReasonString, p.Reason)
	w.user(p.User)
	w.refusal(propWildcardAvailable, p.NoWildcards)
	w.refusal(propSubscriptionIDs, p.NoSubscriptionIDs)
	w.refusal(propSharedAvailable, p.NoSharedSubscriptions)
	if p.ServerKeepAlive != nil {
		w.uint16(propServerKeepAlive, *p.ServerKeepAlive)
	}
	w.text(propResponseInformation, p.ResponseInformation)
	w.text(propServerReference, p.ServerReference)
	if p.AuthMethod != "" || p.AuthData != nil {
		w.method(p.AuthMethod)
	}
	w.data(propAuthData, p.AuthData)
}

func (p *ConnackProperties) validate() error {
	if p == nil {
		return nil
	}
	if p.MaximumQoS != nil && *p.MaximumQoS > AtLeastOnce {
		return &InvalidError{Field: "maximum QoS", Reason: "out of range", Value: int(*p.MaximumQoS), Limit: int(AtLeastOnce)}
	}
	for _, s := range []struct{ field, text string }{
		{"assigned client identifier", p.AssignedClientID}, {"response information", p.ResponseInformation},
		{"server reference", p.ServerReference}, {"authentication method", p.AuthMethod},
	} {
		if err := ValidString(s.field, s.text); err != nil {
			return err
		}
	}
	if err := checkLength("authentication data", len(p.AuthData)); err != nil {
		return err
	}
	return (&AckProperties{p.Reason, p.User}).validate()
}

// Append appends the packet. It writes SessionPresent on 3.1 too, because some brokers do. Before
// MQTT 5 it ignores Properties.
func (c Connack) Append(dst []byte, v Version) ([]byte, error) {
	var flags byte
	if c.SessionPresent {
		flags = connackSession
	}
	if v < V5 {
		return append(dst, TypeConnack.first(), 2, flags, c.Code.returnCode()), nil
	}
	if err := c.Properties.validate(); err != nil {
		return dst, err
	}
	n, whole := measureProperties(c.Properties)
	if 2+whole > MaxRemaining {
		return dst, tooLong(2 + whole)
	}
	dst = appendLength(append(dst, TypeConnack.first()), 2+whole)
	return appendProperties(append(dst, flags, byte(c.Code)), c.Properties, n), nil
}

// ParseConnack parses a CONNACK. On 3.1 it ignores the first byte of the body, which has no meaning
// there. A refusal with the session flag set breaks [MQTT-3.2.2-4]. ParseConnack returns its code
// all the same, because the code tells the user more than a violation would. On MQTT 5 it accepts a
// refusal without properties, which brokers send that do not know MQTT 5.
func ParseConnack(f Frame, v Version) (Connack, error) {
	const t = TypeConnack
	if err := f.expect(t, v); err != nil {
		return Connack{}, err
	}
	c := cursor{b: f.Body}
	flags, code := c.uint8(), c.uint8()
	p := Connack{Code: reasonOf(code)}
	if v >= V5 && (len(c.b) > 0 || code == byte(Success)) {
		p.Code = ReasonCode(code)
		var err error
		if p.Properties, err = c.connackProperties(); err != nil {
			return Connack{}, err
		}
	}
	if err := c.end(t); err != nil {
		return Connack{}, err
	}
	if v == V31 {
		return p, nil
	}
	// Section 3.2.2.1: bits 7 to 1 are reserved and 0.
	if flags&^connackSession != 0 {
		return Connack{}, malformed(t, fmt.Sprintf("reserved acknowledge flags %08b", flags))
	}
	p.SessionPresent = flags == connackSession
	return p, nil
}

// connackProperties reads the properties of a CONNACK. It returns nil for an empty block.
func (c *cursor) connackProperties() (*ConnackProperties, error) {
	const t = TypeConnack
	r := c.properties(t, t)
	var p ConnackProperties
	for x, ok := r.next(); ok; x, ok = r.next() {
		p.take(&x)
	}
	r.checkAuth()
	if r.err != nil || writesNothing(&p) {
		return nil, r.err
	}
	return &p, nil
}

func (p *ConnackProperties) take(x *property) {
	n := x.number
	switch x.id {
	case propSessionExpiry:
		p.SessionExpiry = &n
	case propReceiveMaximum:
		p.ReceiveMaximum = uint16(n)
	case propMaximumQoS:
		q := QoS(n)
		p.MaximumQoS = &q
	case propRetainAvailable:
		p.NoRetain = n == 0
	case propMaximumPacket:
		p.MaximumPacket = n
	case propAssignedClientID:
		p.AssignedClientID = string(x.value)
	case propTopicAliasMaximum:
		p.TopicAliasMaximum = uint16(n)
	case propReasonString:
		p.Reason = string(x.value)
	case propUser:
		p.User = append(p.User, x.user())
	case propWildcardAvailable:
		p.NoWildcards = n == 0
	case propSubscriptionIDs:
		p.NoSubscriptionIDs = n == 0
	case propSharedAvailable:
		p.NoSharedSubscriptions = n == 0
	case propServerKeepAlive:
		k := uint16(n)
		p.ServerKeepAlive = &k
	case propResponseInformation:
		p.ResponseInformation = string(x.value)
	case propServerReference:
		p.ServerReference = string(x.value)
	case propAuthMethod:
		p.AuthMethod = string(x.value)
	case propAuthData:
		p.AuthData = x.value
	}
}
