package frames

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// maxClientID31 is the longest client identifier of MQTT 3.1, in characters.
const maxClientID31 = 23

// Connect is CONNECT, the first packet on a connection (section 3.1).
type Connect struct {
	Version      Version  // 0: the version passed to Append; if both are 0, V311
	ClientID     string   // 3.1: 1 to 23 characters; 3.1.1: may be empty with CleanSession; 5: may be empty
	CleanSession bool     // 5: Clean Start
	KeepAlive    uint16   // seconds; 0: no keep alive
	Will         *Message // nil: no will

	// A flag tells whether the packet has the field. The field may be empty.
	UserNameFlag bool
	UserName     string
	PasswordFlag bool
	Password     []byte // any bytes, at most 65,535

	Properties *ConnectProperties // MQTT 5; nil is none
}

// The flags of CONNECT (section 3.1.2.3). Bits 3 and 4 hold the QoS of the will.
const (
	connectReserved   byte = 1 << 0
	connectClean      byte = 1 << 1
	connectWill       byte = 1 << 2
	connectWillRetain byte = 1 << 5
	connectPassword   byte = 1 << 6
	connectUserName   byte = 1 << 7

	willQoSShift = 3
)

// Type returns TypeConnect.
func (Connect) Type() Type { return TypeConnect }

// Validate checks that c can be sent. The error is an *InvalidError with Field "version", "client
// identifier", "will QoS", "will topic", "will payload", "user name" or "password".
func (c Connect) Validate() error {
	v, err := c.version(0)
	if err != nil {
		return err
	}
	c.Version = v
	if err := c.validateID(); err != nil {
		return err
	}
	if c.Will != nil {
		// [MQTT-3.1.3-10] [MQTT-4.7.1-1] the topic is UTF-8 without wildcards.
		if err := validTopicName("will topic", c.Will.Topic, c.Version); err != nil {
			return err
		}
		if err := c.Will.validateProperties(v); err != nil {
			return err
		}
	}
	switch {
	case v >= V5:
		if err := c.Properties.validate(); err != nil {
			return err
		}
	case c.Properties != nil:
		return needsV5("properties of CONNECT", v)
	}
	if err := ValidString("user name", c.UserName); err != nil {
		return err // [MQTT-3.1.3-11]
	}
	switch {
	case c.UserName != "" && !c.UserNameFlag:
		return &InvalidError{Field: "user name", Reason: "given without UserNameFlag"}
	case len(c.Password) > 0 && !c.PasswordFlag:
		return &InvalidError{Field: "password", Reason: "given without PasswordFlag"}
	case c.PasswordFlag && !c.UserNameFlag && v < V5:
		// [MQTT-3.1.2-22] before MQTT 5 a password requires a user name, on 3.1 too.
		return &InvalidError{Field: "password", Reason: "given without a user name"}
	}
	return c.checkLengths()
}

func (c *Connect) validateID() error {
	const field = "client identifier"
	if err := ValidString(field, c.ClientID); err != nil {
		return err // [MQTT-3.1.3-4]
	}
	if fault := controlFault(c.ClientID, scan(c.ClientID)); fault != "" {
		return &InvalidError{Field: field, Reason: fault}
	}
	if c.Version == V31 {
		if n := utf8.RuneCountInString(c.ClientID); n < 1 || n > maxClientID31 {
			return &InvalidError{Field: field, Reason: "not of 1 to 23 characters", Value: n, Limit: maxClientID31}
		}
	}
	// [MQTT-3.1.3-7] before MQTT 5 an empty identifier requires a clean session.
	if c.ClientID == "" && !c.CleanSession && c.Version < V5 {
		return &InvalidError{Field: field, Reason: "empty, which requires a clean session"}
	}
	return nil
}

// checkLengths checks the limits of the encoding: the QoS of the will and the length of each field.
func (c *Connect) checkLengths() error {
	if err := checkLength("client identifier", len(c.ClientID)); err != nil {
		return err
	}
	if c.Will != nil {
		// [MQTT-3.1.2-14] the QoS of a will is not 3.
		if err := c.Will.QoS.check("will QoS"); err != nil {
			return err
		}
		if err := checkLength("will topic", len(c.Will.Topic)); err != nil {
			return err
		}
		if err := checkLength("will payload", len(c.Will.Payload)); err != nil {
			return err
		}
	}
	if err := checkLength("user name", len(c.UserName)); err != nil {
		return err
	}
	return checkLength("password", len(c.Password))
}

// version returns the version to write: c.Version if set, else v if set, else 3.1.1. If both are
// set and differ, version returns an error.
func (c *Connect) version(v Version) (Version, error) {
	if c.Version != 0 {
		if v != 0 && v != c.Version {
			return 0, &InvalidError{Field: "version", Reason: fmt.Sprintf("%v in the packet, %v on its connection", c.Version, v)}
		}
		v = c.Version
	}
	if v == 0 {
		v = V311
	}
	if v.protocol() == "" {
		return 0, &InvalidError{Field: "version", Reason: "unknown " + v.String()}
	}
	return v, nil
}

func (c *Connect) flags() (flags byte) {
	if c.CleanSession {
		flags |= connectClean
	}
	if c.Will != nil {
		flags |= connectWill | byte(c.Will.QoS)<<willQoSShift // [MQTT-3.1.2-9]
		if c.Will.Retain {
			flags |= connectWillRetain
		}
	} // [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-15] without a will, the three will fields are 0
	if c.UserNameFlag {
		flags |= connectUserName
	}
	if c.PasswordFlag {
		flags |= connectPassword
	}
	return flags // [MQTT-3.1.2-3] bit 0 stays 0
}

// Append appends the packet. If Version and v are both set, they must be equal.
func (c Connect) Append(dst []byte, v Version) ([]byte, error) {
	v, err := c.version(v)
	if err != nil {
		return dst, err
	}
	if err := c.checkLengths(); err != nil {
		return dst, err
	}
	name := v.protocol()
	n := 2 + len(name) + 4 + 2 + len(c.ClientID)
	if c.Will != nil {
		n += 2 + len(c.Will.Topic) + 2 + len(c.Will.Payload)
	}
	if c.UserNameFlag {
		n += 2 + len(c.UserName)
	}
	if c.PasswordFlag {
		n += 2 + len(c.Password)
	}
	var own, will int
	if v >= V5 {
		var whole, wholeWill int
		own, whole = measureProperties(c.Properties)
		if c.Will != nil {
			will, wholeWill = measureProperties(c.willBlock())
		}
		if n += whole + wholeWill; n > MaxRemaining {
			return dst, tooLong(n)
		}
	}

	dst = appendLength(append(dst, TypeConnect.first()), n)
	dst = appendField(dst, name)
	dst = append(dst, byte(v), c.flags()) // [MQTT-3.1.2-2]
	dst = binary.BigEndian.AppendUint16(dst, c.KeepAlive)
	if v >= V5 {
		dst = appendProperties(dst, c.Properties, own)
	}
	// [MQTT-3.1.3-1] [MQTT-3.1.3-3] the identifier is always present and the first field. Will
	// topic, will message, user name and password follow.
	dst = appendField(dst, c.ClientID)
	if c.Will != nil {
		if v >= V5 {
			dst = appendProperties(dst, c.willBlock(), will)
		}
		dst = appendField(dst, c.Will.Topic)
		dst = appendField(dst, c.Will.Payload)
	}
	if c.UserNameFlag {
		dst = appendField(dst, c.UserName) // [MQTT-3.1.2-18] [MQTT-3.1.2-19]
	}
	if c.PasswordFlag {
		dst = appendField(dst, c.Password) // [MQTT-3.1.2-20] [MQTT-3.1.2-21]
	}
	return dst, nil
}

// ParseConnect parses a CONNECT. If the protocol level is unknown, ParseConnect returns an error
// and a Connect with only Version set, so that a broker can answer UnsupportedProtocolVersion
// [MQTT-3.1.2-2]. It checks only the encoding of the client identifier, because a broker answers
// other faults of the identifier with a CONNACK [MQTT-3.1.3-9].
func ParseConnect(f Frame) (Connect, error) {
	const t = TypeConnect
	if err := f.expect(t, V311); err != nil {
		return Connect{}, err
	}
	c := cursor{b: f.Body}
	name := string(c.field())
	p := Connect{Version: Version(c.uint8())}
	if c.bad {
		return Connect{}, cutShort(t)
	}
	if want := p.Version.protocol(); want == "" || name != want {
		return Connect{Version: p.Version}, violation(t, fmt.Sprintf("protocol %.16q level %d", name, p.Version))
	}
	flags := c.uint8()
	p.KeepAlive = c.uint16()
	p.CleanSession = flags&connectClean != 0
	p.UserNameFlag = flags&connectUserName != 0
	p.PasswordFlag = flags&connectPassword != 0
	if p.Version >= V5 {
		var err error
		if p.Properties, err = c.connectProperties(); err != nil {
			return Connect{}, err
		}
	}
	p.ClientID = string(c.field())
	willQoS := QoS(flags >> willQoSShift & 3)
	if flags&connectWill != 0 {
		p.Will = &Message{QoS: willQoS, Retain: flags&connectWillRetain != 0}
		if p.Version >= V5 {
			if err := p.parseWill(&c); err != nil {
				return Connect{}, err
			}
		}
		p.Will.Topic = string(c.field())
		p.Will.Payload = c.field()
	}
	if p.UserNameFlag {
		p.UserName = string(c.field())
	}
	if p.PasswordFlag {
		p.Password = c.field()
	}
	if err := c.end(t); err != nil {
		return Connect{}, err
	}
	if fault := p.fault(flags); fault != "" {
		return Connect{}, violation(t, fault)
	}
	return p, nil
}

// fault returns the rule that a received CONNECT breaks, or "" if it breaks none.
func (c *Connect) fault(flags byte) string {
	switch {
	case flags&connectReserved != 0 && c.Version != V31:
		return "reserved connect flag set" // [MQTT-3.1.2-3]; 3.1 does not define the bit
	case c.Will == nil && flags>>willQoSShift&3 != 0:
		return "will QoS without a will" // [MQTT-3.1.2-13]
	case c.Will == nil && flags&connectWillRetain != 0:
		return "will retain without a will" // [MQTT-3.1.2-15]
	case c.Will != nil && c.Will.QoS > ExactlyOnce:
		return "will QoS 3" // [MQTT-3.1.2-14]
	case c.PasswordFlag && !c.UserNameFlag && c.Version < V5:
		return "password without a user name" // [MQTT-3.1.2-22]
	}
	if fault := stringFault(c.ClientID, scan(c.ClientID)); fault != "" {
		return "client identifier " + fault // [MQTT-3.1.3-4]
	}
	if fault := stringFault(c.UserName, scan(c.UserName)); fault != "" {
		return "user name " + fault // [MQTT-3.1.3-11]
	}
	if c.Will != nil {
		if fault := topicFault(c.Will.Topic); fault != "" {
			return "will topic " + fault // [MQTT-3.1.3-10]
		}
	}
	return ""
}
