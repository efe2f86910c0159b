package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// handshake sends CONNECT and waits for CONNACK. The result refused says that the broker may not
// know the version of CONNECT.
func (c *Conn) handshake(ctx context.Context, hello []byte, a *Attempt, config *Config) (refused bool, err error) {
	c.Began = time.Now()
	if _, err := c.Write(hello); err != nil {
		return false, wrap("CONNECT: ", err)
	}
	connect := config.connect(a)
	c.ClientID, c.HasWill = connect.ClientID, connect.Will != nil
	log := config.Logger
	log.Debug("sent", "type", frames.TypeConnect.String(), "client", c.ClientID, "size", len(hello))
	first := new(firstBytes)
	c.first = first
	defer func() { c.first = nil }()
	c.Reader = frames.NewReader((*source)(c), config.MaxPacket)
	c.Reader.SetVersion(c.Version)
	f, err := frames.ReadFrame(c.Reader)
	for err == nil && f.Type() == frames.TypeAuth && a.exchange != nil {
		if err := c.answer(ctx, f, a.exchange); err != nil {
			c.refuse(err)
			return false, wrap("", err)
		}
		f, err = frames.ReadFrame(c.Reader)
	}
	if err == nil && f.Type() == frames.TypeConnack {
		c.Connack, err = frames.ParseConnack(f, c.Version)
	} else if err == nil || !first.isConnack() && first.quotable() {
		err = first.notConnack(f, err, c.Version)
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		return first.n == 0, fmt.Errorf("mqtt: the broker closed the connection before CONNACK: %w", io.ErrUnexpectedEOF)
	default:
		c.refuse(err)
		return first.n == 0 && notUnderstood(err), wrap("", err)
	}
	code := c.Connack.Code
	log.Debug("received", "type", frames.TypeConnack.String(), "code", int(code), "session present", c.Connack.SessionPresent, "size", f.Size())
	if code != frames.Success {
		// Brokers of 3.1.1 refuse a version with return code 1 and later ones with 0x84, except for
		// mochi, which sends 0x82 without properties.
		refused = code == frames.UnsupportedProtocolVersion || code == frames.ProtocolViolation && len(f.Body) == 2
		return refused, connectError(&c.Connack)
	}
	if err := c.accept(connect, a.exchange, config); err != nil {
		c.refuse(err)
		return false, wrap("", err)
	}
	return false, nil
}

// connectError returns the error for a CONNACK that refuses the connection.
func connectError(p *frames.Connack) error {
	e := &ConnectError{Code: p.Code}
	if p.Properties != nil {
		e.Reason, e.ServerReference, e.User = p.Properties.Reason, p.Properties.ServerReference, p.Properties.User
	}
	return e
}

// accept checks a CONNACK that accepts the connection.
func (c *Conn) accept(connect *frames.Connect, x *Authentication, config *Config) error {
	if c.Connack.SessionPresent && connect.CleanSession { // always false on 3.1, whose CONNACK lacks the flag
		return errSessionPresent
	}
	if c.Version < frames.V5 {
		return nil
	}
	p := c.Connack.Properties
	if p == nil {
		p = new(frames.ConnackProperties)
	}
	switch {
	case p.AssignedClientID == "" && connect.ClientID == "" && !connect.CleanSession:
		return &frames.ProtocolError{Type: frames.TypeConnack, Reason: "has no assigned client identifier [MQTT-3.2.2-16]"}
	case p.AssignedClientID != "" && connect.ClientID != "":
		config.Logger.Warn("the broker assigns a client identifier, although the client has one; it is ignored",
			"client", connect.ClientID, "assigned", p.AssignedClientID)
	case p.AssignedClientID != "":
		c.ClientID = p.AssignedClientID
	}
	return x.accept(c, p)
}

// refuse tells the broker why the connection ends, if MQTT 5 has a code for the reason. It waits at
// most closeLimit.
func (c *Conn) refuse(err error) {
	var fault interface{ Code() frames.ReasonCode }
	if c.Version < frames.V5 || c.HasWill || !errors.As(err, &fault) {
		return
	}
	if bye, err := (frames.Disconnect{Code: fault.Code()}).Append(nil, c.Version); err == nil {
		defer c.LimitClose()()
		_, _ = c.Write(bye)
	}
}

// errSessionPresent says that the broker has set session present although the client asked for a
// clean session.
var errSessionPresent = &frames.ProtocolError{
	Type:   frames.TypeConnack,
	Reason: "has session present set for a clean session [MQTT-3.2.2-1]",
}

// firstBytes keeps the first bytes that were read. If the first packet is not CONNACK, the error
// quotes these bytes.
type firstBytes struct {
	head [24]byte
	n    int
}

func (s *firstBytes) add(p []byte) { s.n += copy(s.head[s.n:], p) }

func (s *firstBytes) isConnack() bool { return s.head[0]>>4 == byte(frames.TypeConnack) }

// quotable reports whether an error may quote the first bytes. Our own CONNECT may have come back
// with its password, an AUTH holds authentication data, and a PUBLISH a payload.
func (s *firstBytes) quotable() bool {
	const connect, auth = byte(frames.TypeConnect) << 4, byte(frames.TypeAuth) << 4
	return s.n > 0 && s.head[0] != connect && s.head[0] != auth && !s.isPublish() // other flags are another protocol, such as a TLS alert
}

// isPublish reports whether the first bytes may be those of a PUBLISH. The greeting of a mail
// server and HTML are not: they begin like one, with a topic that is longer than the packet.
func (s *firstBytes) isPublish() bool {
	if s.head[0]>>4 != byte(frames.TypePublish) {
		return false
	}
	remaining, n := binary.Uvarint(s.head[1:s.n])
	if n <= 0 || s.n < 1+n+2 {
		return false
	}
	topic := binary.BigEndian.Uint16(s.head[1+n:])
	return 2+uint64(topic) <= remaining
}

// notConnack returns the error for a packet in place of CONNACK. The error names the type of the
// packet and does not show its payload. For bytes that are not an MQTT packet, the error quotes the
// first bytes, without those behind their packet.
func (s *firstBytes) notConnack(f frames.Frame, err error, v frames.Version) error {
	head := s.head[:s.n]
	if err == nil {
		if _, err := frames.Parse(f, v); err == nil || !s.quotable() {
			return &frames.ProtocolError{Type: f.Type(), Reason: fmt.Sprintf("came in place of CONNACK [MQTT-3.2.0-1], in %d bytes", f.Size())}
		}
		head = head[:min(len(head), f.Size())]
	}
	return fmt.Errorf("the first packet is not CONNACK [MQTT-3.2.0-1]; it begins with %q", head)
}
