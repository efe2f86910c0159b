package frames

import (
	"errors"
	"fmt"
)

// ReasonCode is the result of a request. It has the values of MQTT 5 (table 2-6) in all versions,
// because the parsers translate the return codes of 3.1 and 3.1.1. A ReasonCode is an error;
// compare it with errors.Is. A code of 0x80 or above means that the request failed. In a CONNACK
// every code but Success refuses the connection.
type ReasonCode byte

// The reason codes that 3.1 and 3.1.1 can express, and the codes of the errors in this package.
const (
	Success                    ReasonCode = 0x00
	UnspecifiedError           ReasonCode = 0x80 // in SUBACK: the filter is refused (section 3.9.3)
	MalformedPacket            ReasonCode = 0x81
	ProtocolViolation          ReasonCode = 0x82 // the standard calls it Protocol Error
	UnsupportedProtocolVersion ReasonCode = 0x84 // CONNACK return code 1 (3.1.1, section 3.2.2.3)
	ClientIdentifierNotValid   ReasonCode = 0x85 // CONNACK return code 2
	BadUserNameOrPassword      ReasonCode = 0x86 // CONNACK return code 4
	NotAuthorized              ReasonCode = 0x87 // CONNACK return code 5
	ServerUnavailable          ReasonCode = 0x88 // CONNACK return code 3
	PacketTooLarge             ReasonCode = 0x95
)

var reasonNames = map[ReasonCode]string{
	Success:                    "success",
	UnspecifiedError:           "unspecified error",
	MalformedPacket:            "malformed packet",
	ProtocolViolation:          "protocol error",
	UnsupportedProtocolVersion: "unsupported protocol version",
	ClientIdentifierNotValid:   "client identifier not valid",
	BadUserNameOrPassword:      "bad user name or password",
	NotAuthorized:              "not authorized",
	ServerUnavailable:          "server unavailable",
	PacketTooLarge:             "packet too large",
}

// Error returns the name that the standard uses, such as "not authorized". For a code without a
// name it returns the number.
func (c ReasonCode) Error() string {
	if name, ok := reasonNames[c]; ok {
		return name
	}
	return fmt.Sprintf("reserved reason code %#02x", byte(c))
}

// connackReturnCodes maps the return codes of CONNACK in 3.1 and 3.1.1 to reason codes. Other
// return codes are reserved and keep their value.
var connackReturnCodes = [...]ReasonCode{
	Success, UnsupportedProtocolVersion, ClientIdentifierNotValid, ServerUnavailable, BadUserNameOrPassword, NotAuthorized,
}

// reasonOf translates a return code of CONNACK.
func reasonOf(returnCode byte) ReasonCode {
	if int(returnCode) < len(connackReturnCodes) {
		return connackReturnCodes[returnCode]
	}
	return ReasonCode(returnCode)
}

// returnCode translates a ReasonCode to the return code of CONNACK.
func (c ReasonCode) returnCode() byte {
	for i, code := range connackReturnCodes {
		if code == c {
			return byte(i)
		}
	}
	return byte(c)
}

// CodeOf returns the first ReasonCode in the tree of err. If the tree has none, CodeOf returns the
// result of the first method Code in the tree, or else UnspecifiedError.
func CodeOf(err error) ReasonCode {
	var code ReasonCode
	var coder interface{ Code() ReasonCode }
	switch {
	case errors.As(err, &code):
		return code
	case errors.As(err, &coder):
		return coder.Code()
	}
	return UnspecifiedError
}
