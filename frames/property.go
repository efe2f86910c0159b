package frames

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
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

// varintSize returns the number of bytes of a variable byte integer.
func varintSize(n int) int { return max(1, (bits.Len32(uint32(n))+6)/7) }

// propertyWriter appends a property block. It is used twice: to measure, with dst nil and measuring
// set, and to write.
type propertyWriter struct {
	dst       []byte
	measuring bool
	n         int
}

func (w *propertyWriter) flag(id propertyID, set bool) {
	if set {
		w.byte(id, 1)
	}
}

// refusal writes 0 if set. A property that is absent says that something is available.
func (w *propertyWriter) refusal(id propertyID, set bool) {
	if set {
		w.byte(id, 0)
	}
}

func (w *propertyWriter) byte(id propertyID, b byte) {
	if w.n += 2; !w.measuring {
		w.dst = append(w.dst, byte(id), b)
	}
}

func (w *propertyWriter) uint16(id propertyID, n uint16) {
	if w.n += 3; !w.measuring {
		w.dst = binary.BigEndian.AppendUint16(append(w.dst, byte(id)), n)
	}
}

func (w *propertyWriter) uint32(id propertyID, n uint32) {
	if w.n += 5; !w.measuring {
		w.dst = binary.BigEndian.AppendUint32(append(w.dst, byte(id)), n)
	}
}

func (w *propertyWriter) varint(id propertyID, n uint32) {
	if w.n += 1 + varintSize(int(n)); !w.measuring {
		w.dst = binary.AppendUvarint(append(w.dst, byte(id)), uint64(n))
	}
}

// text writes a string, unless it is empty.
func (w *propertyWriter) text(id propertyID, s string) {
	if s == "" {
		return
	}
	if w.n += 3 + len(s); !w.measuring {
		w.dst = appendField(append(w.dst, byte(id)), s)
	}
}

// method writes an authentication method, which may be empty.
func (w *propertyWriter) method(s string) {
	if w.n += 3 + len(s); !w.measuring {
		w.dst = appendField(append(w.dst, byte(propAuthMethod)), s)
	}
}

// data writes binary data, unless it is nil.
func (w *propertyWriter) data(id propertyID, b []byte) {
	if b == nil {
		return
	}
	if w.n += 3 + len(b); !w.measuring {
		w.dst = appendField(append(w.dst, byte(id)), b)
	}
}

func (w *propertyWriter) user(list []UserProperty) {
	for i := range list {
		w.n += 5 + len(list[i].Name) + len(list[i].Value)
		if !w.measuring {
			w.dst = appendField(append(w.dst, byte(propUser)), list[i].Name)
			w.dst = appendField(w.dst, list[i].Value)
		}
	}
}

// A propertyBlock is the properties of a packet that can be written.
type propertyBlock interface{ write(*propertyWriter) }

// measureProperties returns the number of bytes of a block, without and with its length.
func measureProperties(b propertyBlock) (n, whole int) {
	w := propertyWriter{measuring: true}
	b.write(&w)
	return w.n, w.n + varintSize(w.n)
}

// writesNothing reports whether a block is empty, as that of a packet whose properties all have the
// value that absence means.
func writesNothing(b propertyBlock) bool {
	n, _ := measureProperties(b)
	return n == 0
}

// appendProperties appends a block of n bytes and its length.
func appendProperties(dst []byte, b propertyBlock, n int) []byte {
	w := propertyWriter{dst: appendLength(dst, n)}
	b.write(&w)
	return w.dst
}
