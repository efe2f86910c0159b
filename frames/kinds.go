package frames

import "strconv"

// Version is a version of MQTT. Its value is the protocol level in CONNECT (section 3.1.2.2).
type Version byte

// The supported versions.
const (
	V31  Version = 3 // MQTT 3.1, protocol name MQIsdp
	V311 Version = 4 // MQTT 3.1.1, protocol name MQTT
	V5   Version = 5 // MQTT 5, protocol name MQTT
)

// String returns the version number, "3.1", "3.1.1" or "5".
func (v Version) String() string {
	switch v {
	case V31:
		return "3.1"
	case V311:
		return "3.1.1"
	case V5:
		return "5"
	}
	return "Version(" + strconv.Itoa(int(v)) + ")"
}

// protocol returns the protocol name of v in CONNECT, or "" if v is not supported.
func (v Version) protocol() string {
	switch v {
	case V31:
		return "MQIsdp"
	case V311, V5:
		return "MQTT" // [MQTT-3.1.2-1]
	}
	return ""
}

// QoS is the quality of service of a message or subscription, 0 to 2 (section 4.3).
type QoS byte

// The qualities of service.
const (
	AtMostOnce  QoS = 0
	AtLeastOnce QoS = 1
	ExactlyOnce QoS = 2
)

// String returns the name that the standard uses: "at most once", "at least once" or "exactly
// once".
func (q QoS) String() string {
	switch q {
	case AtMostOnce:
		return "at most once"
	case AtLeastOnce:
		return "at least once"
	case ExactlyOnce:
		return "exactly once"
	}
	return "QoS(" + strconv.Itoa(int(q)) + ")"
}

// check returns an *InvalidError for field if q is above 2.
func (q QoS) check(field string) error {
	// [MQTT-3.3.1-4] [MQTT-3-8.3-4] QoS 3 is never sent and never requested.
	if q > ExactlyOnce {
		return &InvalidError{Field: field, Reason: "out of range", Value: int(q), Limit: int(ExactlyOnce)}
	}
	return nil
}

// Type is the type of a control packet, 1 to 15 (section 2.1.2). 0 is reserved, and 15 before MQTT
// 5.
type Type byte

// The control packets.
const (
	TypeConnect Type = iota + 1
	TypeConnack
	TypePublish
	TypePuback
	TypePubrec
	TypePubrel
	TypePubcomp
	TypeSubscribe
	TypeSuback
	TypeUnsubscribe
	TypeUnsuback
	TypePingreq
	TypePingresp
	TypeDisconnect
	TypeAuth // MQTT 5
)

var typeNames = [...]string{
	TypeConnect: "CONNECT", TypeConnack: "CONNACK", TypePublish: "PUBLISH", TypePuback: "PUBACK",
	TypePubrec: "PUBREC", TypePubrel: "PUBREL", TypePubcomp: "PUBCOMP", TypeSubscribe: "SUBSCRIBE",
	TypeSuback: "SUBACK", TypeUnsubscribe: "UNSUBSCRIBE", TypeUnsuback: "UNSUBACK", TypePingreq: "PINGREQ",
	TypePingresp: "PINGRESP", TypeDisconnect: "DISCONNECT", TypeAuth: "AUTH",
}

// String returns the name that the standard uses, such as "CONNECT".
func (t Type) String() string {
	if t.known() {
		return typeNames[t]
	}
	return "Type(" + strconv.Itoa(int(t)) + ")"
}

func (t Type) known() bool { return t >= TypeConnect && t <= TypeAuth }

// knownIn reports whether version v has packets of type t.
func (t Type) knownIn(v Version) bool { return t.known() && (t != TypeAuth || v >= V5) }

// The bits of a fixed header that have a meaning in some packets (section 2.2.2).
const (
	flagRetain byte = 1 << 0
	flagQoS1   byte = 1 << 1
	flagDUP    byte = 1 << 3
)

// first returns the first byte of packets of type t without DUP. t is not PUBLISH.
func (t Type) first() byte {
	b := byte(t) << 4
	switch t {
	case TypePubrel, TypeSubscribe, TypeUnsubscribe:
		// [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] these types have the flags 0010, which mean
		// QoS 1 in 3.1.
		b |= flagQoS1
	}
	return b // [MQTT-2.2.2-1] the flags of the other types are 0
}

// hasDUP reports whether packets of type t have a DUP flag in version v. t is not PUBLISH.
func (t Type) hasDUP(v Version) bool {
	return v == V31 && (t == TypePubrel || t == TypeSubscribe || t == TypeUnsubscribe)
}
