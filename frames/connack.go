package frames

import (
	"fmt"
	"strconv"
)

// ConnackCode is the answer of a broker to CONNECT (section 3.2.2.3). Every code but Accepted is an error to its
// client: errors.Is(err, frames.NotAuthorized).
type ConnackCode byte

// The codes of MQTT 3.1 and 3.1.1. The others are reserved and refuse as well.
const (
	Accepted              ConnackCode = 0
	UnacceptableVersion   ConnackCode = 1
	IdentifierRejected    ConnackCode = 2
	ServerUnavailable     ConnackCode = 3
	BadUserNameOrPassword ConnackCode = 4
	NotAuthorized         ConnackCode = 5
)

var connackTexts = [...]string{
	Accepted:              "connection accepted",
	UnacceptableVersion:   "connection refused: unacceptable protocol version",
	IdentifierRejected:    "connection refused: identifier rejected",
	ServerUnavailable:     "connection refused: server unavailable",
	BadUserNameOrPassword: "connection refused: bad user name or password",
	NotAuthorized:         "connection refused: not authorized",
}

// Error says that the connection was refused and why.
func (c ConnackCode) Error() string {
	if int(c) < len(connackTexts) {
		return connackTexts[c]
	}
	return "connection refused: reserved code " + strconv.Itoa(int(c))
}

// Connack is CONNACK, the first packet from a broker (section 3.2).
type Connack struct {
	SessionPresent bool // 3.1.1 only: the broker has state of this client
	Code           ConnackCode
}

// connackSession is the one flag of CONNACK (section 3.2.2.1).
const connackSession byte = 1

// Type is TypeConnack.
func (Connack) Type() Type { return TypeConnack }

// Append appends the packet. It never fails; the flag is written on 3.1 too, where brokers do set it.
func (c Connack) Append(dst []byte, _ Version) ([]byte, error) {
	var flags byte
	if c.SessionPresent {
		flags = connackSession
	}
	return append(dst, TypeConnack.first(), 2, flags, byte(c.Code)), nil
}

// ParseConnack takes a CONNACK apart. On 3.1 the first byte of the body has no meaning and is not looked at. A refusal
// with the session flag set breaks [MQTT-3.2.2-4] but is returned all the same: the code tells the user more.
func ParseConnack(f Frame, v Version) (Connack, error) {
	const t = TypeConnack
	if err := f.expect(t, v); err != nil {
		return Connack{}, err
	}
	c := cursor{b: f.Body}
	flags := c.uint8()
	p := Connack{Code: ConnackCode(c.uint8())}
	if err := c.end(t); err != nil {
		return Connack{}, err
	}
	if v == V31 {
		return p, nil
	}
	// Section 3.2.2.1: bits 7 to 1 are reserved and 0.
	if flags&^connackSession != 0 {
		return Connack{}, &ProtocolError{t, fmt.Sprintf("reserved acknowledge flags %08b", flags)}
	}
	p.SessionPresent = flags == connackSession
	return p, nil
}
