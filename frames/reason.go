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

// The reason codes of table 2-6, with the return codes of 3.1.1 that are translated to them. 0x00
// is also Normal disconnection and Granted QoS 0.
const (
	Success                             ReasonCode = 0x00
	GrantedQoS1                         ReasonCode = 0x01
	GrantedQoS2                         ReasonCode = 0x02
	DisconnectWithWill                  ReasonCode = 0x04
	NoMatchingSubscribers               ReasonCode = 0x10
	NoSubscriptionExisted               ReasonCode = 0x11
	ContinueAuthentication              ReasonCode = 0x18
	ReAuthenticate                      ReasonCode = 0x19
	UnspecifiedError                    ReasonCode = 0x80 // in SUBACK of 3.1.1: the filter is refused
	MalformedPacket                     ReasonCode = 0x81
	ProtocolViolation                   ReasonCode = 0x82 // the standard calls it Protocol Error
	ImplementationSpecificError         ReasonCode = 0x83
	UnsupportedProtocolVersion          ReasonCode = 0x84 // CONNACK return code 1 (3.1.1, section 3.2.2.3)
	ClientIdentifierNotValid            ReasonCode = 0x85 // CONNACK return code 2
	BadUserNameOrPassword               ReasonCode = 0x86 // CONNACK return code 4
	NotAuthorized                       ReasonCode = 0x87 // CONNACK return code 5
	ServerUnavailable                   ReasonCode = 0x88 // CONNACK return code 3
	ServerBusy                          ReasonCode = 0x89
	Banned                              ReasonCode = 0x8A
	ServerShuttingDown                  ReasonCode = 0x8B
	BadAuthenticationMethod             ReasonCode = 0x8C
	KeepAliveTimeout                    ReasonCode = 0x8D
	SessionTakenOver                    ReasonCode = 0x8E
	TopicFilterInvalid                  ReasonCode = 0x8F
	TopicNameInvalid                    ReasonCode = 0x90
	PacketIdentifierInUse               ReasonCode = 0x91
	PacketIdentifierNotFound            ReasonCode = 0x92
	ReceiveMaximumExceeded              ReasonCode = 0x93
	TopicAliasInvalid                   ReasonCode = 0x94
	PacketTooLarge                      ReasonCode = 0x95
	MessageRateTooHigh                  ReasonCode = 0x96
	QuotaExceeded                       ReasonCode = 0x97
	AdministrativeAction                ReasonCode = 0x98
	PayloadFormatInvalid                ReasonCode = 0x99
	RetainNotSupported                  ReasonCode = 0x9A
	QoSNotSupported                     ReasonCode = 0x9B
	UseAnotherServer                    ReasonCode = 0x9C
	ServerMoved                         ReasonCode = 0x9D
	SharedSubscriptionsNotSupported     ReasonCode = 0x9E
	ConnectionRateExceeded              ReasonCode = 0x9F
	MaximumConnectTime                  ReasonCode = 0xA0
	SubscriptionIdentifiersNotSupported ReasonCode = 0xA1
	WildcardSubscriptionsNotSupported   ReasonCode = 0xA2
)

var reasonNames = map[ReasonCode]string{
	Success:                             "success",
	GrantedQoS1:                         "granted QoS 1",
	GrantedQoS2:                         "granted QoS 2",
	DisconnectWithWill:                  "disconnect with will message",
	NoMatchingSubscribers:               "no matching subscribers",
	NoSubscriptionExisted:               "no subscription existed",
	ContinueAuthentication:              "continue authentication",
	ReAuthenticate:                      "re-authenticate",
	UnspecifiedError:                    "unspecified error",
	MalformedPacket:                     "malformed packet",
	ProtocolViolation:                   "protocol error",
	ImplementationSpecificError:         "implementation specific error",
	UnsupportedProtocolVersion:          "unsupported protocol version",
	ClientIdentifierNotValid:            "client identifier not valid",
	BadUserNameOrPassword:               "bad user name or password",
	NotAuthorized:                       "not authorized",
	ServerUnavailable:                   "server unavailable",
	ServerBusy:                          "server busy",
	Banned:                              "banned",
	ServerShuttingDown:                  "server shutting down",
	BadAuthenticationMethod:             "bad authentication method",
	KeepAliveTimeout:                    "keep alive timeout",
	SessionTakenOver:                    "session taken over",
	TopicFilterInvalid:                  "topic filter invalid",
	TopicNameInvalid:                    "topic name invalid",
	PacketIdentifierInUse:               "packet identifier in use",
	PacketIdentifierNotFound:            "packet identifier not found",
	ReceiveMaximumExceeded:              "receive maximum exceeded",
	TopicAliasInvalid:                   "topic alias invalid",
	PacketTooLarge:                      "packet too large",
	MessageRateTooHigh:                  "message rate too high",
	QuotaExceeded:                       "quota exceeded",
	AdministrativeAction:                "administrative action",
	PayloadFormatInvalid:                "payload format invalid",
	RetainNotSupported:                  "retain not supported",
	QoSNotSupported:                     "QoS not supported",
	UseAnotherServer:                    "use another server",
	ServerMoved:                         "server moved",
	SharedSubscriptionsNotSupported:     "shared subscriptions not supported",
	ConnectionRateExceeded:              "connection rate exceeded",
	MaximumConnectTime:                  "maximum connect time",
	SubscriptionIdentifiersNotSupported: "subscription identifiers not supported",
	WildcardSubscriptionsNotSupported:   "wildcard subscriptions not supported",
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
