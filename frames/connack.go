package frames

import "fmt"

// Connack is CONNACK, the first packet from a broker (section 3.2).
type Connack struct {
	SessionPresent bool       // the broker has the session of this client; 3.1.1 only
	Code           ReasonCode // every code except Success refuses the connection
}

// connackSession is the only flag of CONNACK (section 3.2.2.1).
const connackSession byte = 1

// Type returns TypeConnack.
func (Connack) Type() Type { return TypeConnack }

// Append appends the packet. It never fails. It writes SessionPresent on 3.1 too, because some
// brokers do.
func (c Connack) Append(dst []byte, _ Version) ([]byte, error) {
	var flags byte
	if c.SessionPresent {
		flags = connackSession
	}
	return append(dst, TypeConnack.first(), 2, flags, c.Code.returnCode()), nil
}

// ParseConnack parses a CONNACK. On 3.1 it ignores the first byte of the body, which has no meaning
// there. A refusal with the session flag set breaks [MQTT-3.2.2-4]. ParseConnack returns its code
// all the same, because the code tells the user more than a violation would.
func ParseConnack(f Frame, v Version) (Connack, error) {
	const t = TypeConnack
	if err := f.expect(t, v); err != nil {
		return Connack{}, err
	}
	c := cursor{b: f.Body}
	flags := c.uint8()
	p := Connack{Code: reasonOf(c.uint8())}
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
