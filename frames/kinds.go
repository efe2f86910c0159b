package frames

import "strconv"

// Version is a version of MQTT, by the protocol level that CONNECT carries (section 3.1.2.2).
type Version byte

// The versions this package speaks.
const (
	V31  Version = 3 // MQTT 3.1, protocol name MQIsdp
	V311 Version = 4 // MQTT 3.1.1, protocol name MQTT
)

// String gives the number of the standard: "3.1", "3.1.1".
func (v Version) String() string {
	switch v {
	case V31:
		return "3.1"
	case V311:
		return "3.1.1"
	}
	return "Version(" + strconv.Itoa(int(v)) + ")"
}

// protocol is the protocol name of v in CONNECT, empty for a version this package does not speak.
func (v Version) protocol() string {
	switch v {
	case V31:
		return "MQIsdp"
	case V311:
		return "MQTT" // [MQTT-3.1.2-1] the name is exactly this
	}
	return ""
}

// QoS is the quality of service of a message or a subscription, 0 to 2 (section 4.3).
type QoS byte

// The qualities of service.
const (
	AtMostOnce  QoS = 0
	AtLeastOnce QoS = 1
	ExactlyOnce QoS = 2
)

// String gives the name the standard uses: "at most once", "at least once", "exactly once".
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

// check refuses what is no quality of service.
func (q QoS) check(field string) error {
	// [MQTT-3.3.1-4] both QoS bits set is never sent; [MQTT-3-8.3-4] nor is it asked for.
	if q > ExactlyOnce {
		return &InvalidError{Field: field, Reason: "out of range", Value: int(q), Limit: int(ExactlyOnce)}
	}
	return nil
}

// Type is the type of a control packet, 1 to 14 (section 2.2.1). 0 and 15 are reserved.
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
)

var typeNames = [...]string{
	TypeConnect: "CONNECT", TypeConnack: "CONNACK", TypePublish: "PUBLISH", TypePuback: "PUBACK",
	TypePubrec: "PUBREC", TypePubrel: "PUBREL", TypePubcomp: "PUBCOMP", TypeSubscribe: "SUBSCRIBE",
	TypeSuback: "SUBACK", TypeUnsubscribe: "UNSUBSCRIBE", TypeUnsuback: "UNSUBACK", TypePingreq: "PINGREQ",
	TypePingresp: "PINGRESP", TypeDisconnect: "DISCONNECT",
}

// String gives the name the standard uses: "CONNECT", "PUBLISH".
func (t Type) String() string {
	if t.known() {
		return typeNames[t]
	}
	return "Type(" + strconv.Itoa(int(t)) + ")"
}

func (t Type) known() bool { return t >= TypeConnect && t <= TypeDisconnect }

// The bits of a fixed header that carry meaning in some packets (section 2.2.2).
const (
	flagRetain byte = 1 << 0
	flagQoS1   byte = 1 << 1
	flagDUP    byte = 1 << 3
)

// first is the first byte of a packet of type t that is not a PUBLISH.
func (t Type) first() byte {
	b := byte(t) << 4
	switch t {
	case TypePubrel, TypeSubscribe, TypeUnsubscribe:
		// [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] these three carry 2, which in 3.1 was their QoS.
		b |= flagQoS1
	}
	return b // [MQTT-2.2.2-1] the others carry 0
}

// hasDUP reports whether packets of type t, not PUBLISH, have a DUP flag in version v.
func (t Type) hasDUP(v Version) bool {
	return v == V31 && (t == TypePubrel || t == TypeSubscribe || t == TypeUnsubscribe)
}
