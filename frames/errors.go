package frames

import "fmt"

// Limits of the encoding, in bytes.
const (
	MaxString    = 65535            // a string or a length-prefixed field (section 1.5.3)
	MaxRemaining = 268_435_455      // the remaining length of a fixed header (section 2.2.3)
	MaxPacket    = MaxRemaining + 5 // a whole packet
)

// InvalidError reports an argument that is invalid. Nothing was sent.
type InvalidError struct {
	Field  string // the argument, as the standard names it: "topic", "QoS", "client identifier"
	Reason string // the rule that the argument breaks
	Limit  int    // the largest value allowed; 0 if the rule is not a limit
	Value  int    // the value of the argument, in the unit of Limit
}

func (e *InvalidError) Error() string {
	if e.Limit == 0 {
		return fmt.Sprintf("invalid %s: %s", e.Field, e.Reason)
	}
	return fmt.Sprintf("invalid %s: %s: %d, limit %d", e.Field, e.Reason, e.Value, e.Limit)
}

// ProtocolError reports that the peer broke the standard. The connection must be closed
// [MQTT-4.8.0-1].
type ProtocolError struct {
	Type   Type // type of the packet; 0 if unknown
	Reason string

	code ReasonCode // 0: ProtocolViolation
}

func violation(t Type, reason string) *ProtocolError { return &ProtocolError{Type: t, Reason: reason} }

// malformed returns the error for a packet that cannot be decoded.
func malformed(t Type, reason string) *ProtocolError {
	return &ProtocolError{Type: t, Reason: reason, code: MalformedPacket}
}

func (e *ProtocolError) Error() string {
	if e.Type == 0 {
		return "protocol violation: " + e.Reason
	}
	return "protocol violation: " + e.Type.String() + ": " + e.Reason
}

// Code returns the reason code for DISCONNECT: MalformedPacket, TopicAliasInvalid or
// ProtocolViolation.
func (e *ProtocolError) Code() ReasonCode {
	if e.code != 0 {
		return e.code
	}
	return ProtocolViolation
}

// TooLargeError reports a frame over the limit of its Reader.
type TooLargeError struct {
	Size  int // size of the whole frame in bytes, as its header announces
	Limit int // limit of the Reader in bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("packet of %d bytes is over the limit of %d", e.Size, e.Limit)
}

// Code returns PacketTooLarge.
func (*TooLargeError) Code() ReasonCode { return PacketTooLarge }

// VersionError reports an argument that the version of the connection cannot carry. Nothing was
// sent.
type VersionError struct {
	Field string  // the argument, as the standard names it: "user properties", "no local"
	Need  Version // the first version that has it
	Have  Version
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s: needs MQTT %v, this is %v", e.Field, e.Need, e.Have)
}

func needsV5(field string, v Version) error { return &VersionError{Field: field, Need: V5, Have: v} }

// zeroID returns the error for an outbound packet that needs an identifier and has none
// [MQTT-2.3.1-1].
func zeroID() error {
	return &InvalidError{Field: "packet identifier", Reason: "must not be 0"}
}

// tooLong returns the error for an outbound packet whose remaining length does not fit its header.
func tooLong(remaining int) error {
	return &InvalidError{Field: "packet", Reason: "remaining length too large in bytes", Value: remaining, Limit: MaxRemaining}
}
