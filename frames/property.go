package frames

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// A propertyID identifies a property of MQTT 5 (section 2.2.2.2).
type propertyID byte

const (
	propPayloadFormat       propertyID = 0x01
	propMessageExpiry       propertyID = 0x02
	propContentType         propertyID = 0x03
	propResponseTopic       propertyID = 0x08
	propCorrelationData     propertyID = 0x09
	propSubscriptionID      propertyID = 0x0B
	propSessionExpiry       propertyID = 0x11
	propAssignedClientID    propertyID = 0x12
	propServerKeepAlive     propertyID = 0x13
	propAuthMethod          propertyID = 0x15
	propAuthData            propertyID = 0x16
	propRequestProblem      propertyID = 0x17
	propWillDelay           propertyID = 0x18
	propRequestResponse     propertyID = 0x19
	propResponseInformation propertyID = 0x1A
	propServerReference     propertyID = 0x1C
	propReasonString        propertyID = 0x1F
	propReceiveMaximum      propertyID = 0x21
	propTopicAliasMaximum   propertyID = 0x22
	propTopicAlias          propertyID = 0x23
	propMaximumQoS          propertyID = 0x24
	propRetainAvailable     propertyID = 0x25
	propUser                propertyID = 0x26
	propMaximumPacket       propertyID = 0x27
	propWildcardAvailable   propertyID = 0x28
	propSubscriptionIDs     propertyID = 0x29
	propSharedAvailable     propertyID = 0x2A
	propertyIDs                        = 0x2B
	willProperties          Type       = 0 // stands for the properties of the will in a set of packets
	maxVarint                          = 268_435_455
	maxVarintBytes                     = 4
)

// A propertyKind is the type of a property's value (section 1.5).
type propertyKind byte

const (
	kindNone   propertyKind = iota // the identifier is reserved
	kindFlag                       // a byte, 0 or 1
	kindUint16                     // a two-byte integer
	kindUint32                     // a four-byte integer
	kindVarint                     // a variable byte integer
	kindString                     // a UTF-8 string
	kindBinary                     // binary data
	kindPair                       // a UTF-8 string pair
)

// A propertyRule says which value a property has and in which packets it may be.
type propertyRule struct {
	name    string
	kind    propertyKind
	packets uint16 // a set of types, as bits
	many    uint16 // of these, the packets in which the property may be more than once
	nonzero bool   // 0 is a protocol error
}

func packetSet(types ...Type) (set uint16) {
	for _, t := range types {
		set |= 1 << t
	}
	return set
}

// propertyRules is table 2-4.
var propertyRules = func() (r [propertyIDs]propertyRule) {
	publish := packetSet(TypePublish, willProperties)
	connack := packetSet(TypeConnack)
	auth := packetSet(TypeConnect, TypeConnack, TypeAuth)
	all := packetSet(TypeConnect, TypeConnack, TypePublish, willProperties, TypePuback, TypePubrec, TypePubrel, TypePubcomp,
		TypeSubscribe, TypeSuback, TypeUnsubscribe, TypeUnsuback, TypeDisconnect, TypeAuth)
	reason := all &^ packetSet(TypeConnect, TypePublish, willProperties, TypeSubscribe, TypeUnsubscribe)
	r[propPayloadFormat] = propertyRule{name: "payload format indicator", kind: kindFlag, packets: publish}
	r[propMessageExpiry] = propertyRule{name: "message expiry interval", kind: kindUint32, packets: publish}
	r[propContentType] = propertyRule{name: "content type", kind: kindString, packets: publish}
	r[propResponseTopic] = propertyRule{name: "response topic", kind: kindString, packets: publish}
	r[propCorrelationData] = propertyRule{name: "correlation data", kind: kindBinary, packets: publish}
	r[propSubscriptionID] = propertyRule{name: "subscription identifier", kind: kindVarint, nonzero: true,
		packets: packetSet(TypePublish, TypeSubscribe), many: packetSet(TypePublish)}
	r[propSessionExpiry] = propertyRule{name: "session expiry interval", kind: kindUint32,
		packets: packetSet(TypeConnect, TypeConnack, TypeDisconnect)}
	r[propAssignedClientID] = propertyRule{name: "assigned client identifier", kind: kindString, packets: connack}
	r[propServerKeepAlive] = propertyRule{name: "server keep alive", kind: kindUint16, packets: connack}
	r[propAuthMethod] = propertyRule{name: "authentication method", kind: kindString, packets: auth}
	r[propAuthData] = propertyRule{name: "authentication data", kind: kindBinary, packets: auth}
	r[propRequestProblem] = propertyRule{name: "request problem information", kind: kindFlag, packets: packetSet(TypeConnect)}
	r[propWillDelay] = propertyRule{name: "will delay interval", kind: kindUint32, packets: packetSet(willProperties)}
	r[propRequestResponse] = propertyRule{name: "request response information", kind: kindFlag, packets: packetSet(TypeConnect)}
	r[propResponseInformation] = propertyRule{name: "response information", kind: kindString, packets: connack}
	r[propServerReference] = propertyRule{name: "server reference", kind: kindString, packets: packetSet(TypeConnack, TypeDisconnect)}
	r[propReasonString] = propertyRule{name: "reason string", kind: kindString, packets: reason}
	r[propReceiveMaximum] = propertyRule{name: "receive maximum", kind: kindUint16, nonzero: true, packets: packetSet(TypeConnect, TypeConnack)}
	r[propTopicAliasMaximum] = propertyRule{name: "topic alias maximum", kind: kindUint16, packets: packetSet(TypeConnect, TypeConnack)}
	r[propTopicAlias] = propertyRule{name: "topic alias", kind: kindUint16, packets: packetSet(TypePublish)}
	r[propMaximumQoS] = propertyRule{name: "maximum QoS", kind: kindFlag, packets: connack}
	r[propRetainAvailable] = propertyRule{name: "retain available", kind: kindFlag, packets: connack}
	r[propUser] = propertyRule{name: "user property", kind: kindPair, packets: all, many: all}
	r[propMaximumPacket] = propertyRule{name: "maximum packet size", kind: kindUint32, nonzero: true, packets: packetSet(TypeConnect, TypeConnack)}
	r[propWildcardAvailable] = propertyRule{name: "wildcard subscription available", kind: kindFlag, packets: connack}
	r[propSubscriptionIDs] = propertyRule{name: "subscription identifiers available", kind: kindFlag, packets: connack}
	r[propSharedAvailable] = propertyRule{name: "shared subscription available", kind: kindFlag, packets: connack}
	return r
}()

// A property is one property of a received packet. The field that holds the value depends on its
// kind. Bytes point into the body of the frame.
type property struct {
	id          propertyID
	number      uint32
	value, name []byte // of a string, of binary data, or of a pair
}

// user returns the value of a user property.
func (p *property) user() UserProperty { return UserProperty{string(p.name), string(p.value)} }

// propertyReader reads the properties of one packet.
type propertyReader struct {
	in   cursor
	of   Type // the type of the packet, or willProperties
	t    Type // the type of the packet
	seen uint64
	err  error
}

// properties returns a reader of the property block at the front of c, and removes the block from
// c.
func (c *cursor) properties(t, of Type) propertyReader {
	r := propertyReader{of: of, t: t}
	n, ok := c.varint()
	switch {
	case !ok && !c.bad:
		r.err = malformed(t, "property length in more bytes than it needs")
	case len(c.b) < int(n):
		c.fail()
	default:
		r.in.b, c.b = c.b[:n:n], c.b[n:]
	}
	return r
}

// next returns the next property, or false at the end of the block and after an error.
func (r *propertyReader) next() (p property, ok bool) {
	if r.err != nil || len(r.in.b) == 0 {
		return p, false
	}
	id, ok := r.in.varint()
	if !ok || id >= propertyIDs || propertyRules[id].kind == kindNone {
		r.err = malformed(r.t, "reserved property identifier")
		return p, false
	}
	p.id = propertyID(id)
	rule := &propertyRules[id]
	switch bit := uint64(1) << id; {
	case rule.packets&(1<<r.of) == 0: // [MQTT-2.2.2.2] a property of another packet
		return p, r.fail(violation(r.t, rule.name+" in a packet that does not have it"))
	case r.seen&bit != 0 && rule.many&(1<<r.of) == 0:
		return p, r.fail(violation(r.t, rule.name+" more than once"))
	default:
		r.seen |= bit
	}
	if err := r.value(&p, rule); err != nil {
		return p, r.fail(err)
	}
	return p, true
}

func (r *propertyReader) fail(err error) bool {
	r.err = err
	return false
}

// value reads the value of a property.
func (r *propertyReader) value(p *property, rule *propertyRule) error {
	switch rule.kind {
	case kindFlag:
		if p.number = uint32(r.in.uint8()); p.number > 1 {
			return violation(r.t, fmt.Sprintf("%s %d", rule.name, p.number))
		}
	case kindUint16:
		p.number = uint32(r.in.uint16())
	case kindUint32:
		p.number = r.in.uint32()
	case kindVarint:
		var ok bool
		if p.number, ok = r.in.varint(); !ok && !r.in.bad {
			return malformed(r.t, rule.name+" in more bytes than it needs")
		}
	case kindPair:
		p.name = r.in.field()
		p.value = r.in.field()
		if fault := bytesFault(p.name); fault != "" {
			return malformed(r.t, rule.name+": name "+fault)
		}
	case kindString, kindBinary:
		p.value = r.in.field()
	}
	if r.in.bad {
		return malformed(r.t, rule.name+" cut short")
	}
	if rule.kind == kindString || rule.kind == kindPair {
		if fault := bytesFault(p.value); fault != "" {
			return malformed(r.t, rule.name+" "+fault)
		}
	}
	if rule.nonzero && p.number == 0 {
		return violation(r.t, rule.name+" 0")
	}
	return nil
}

// checkAuth requires that a packet with authentication data has an authentication method.
func (r *propertyReader) checkAuth() {
	if r.err == nil && r.has(propAuthData) && !r.has(propAuthMethod) {
		r.err = violation(r.t, "authentication data without a method")
	}
}

// has reports whether a property was read.
func (r *propertyReader) has(id propertyID) bool { return r.seen&(1<<id) != 0 }

// bytesFault returns the rule that b breaks as a UTF-8 string, or "".
func bytesFault(b []byte) string {
	switch {
	case bytes.IndexByte(b, 0) >= 0:
		return withNUL
	case !utf8.Valid(b):
		return notUTF8
	}
	return ""
}
