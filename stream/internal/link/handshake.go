package link

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// handshake sends CONNECT and waits for CONNACK.
func (c *Conn) handshake(hello []byte, config *Config) error {
	c.Began = time.Now()
	if _, err := c.Write(hello); err != nil {
		return wrap("CONNECT: ", err)
	}
	log := config.Logger
	log.Debug("sent", "type", frames.TypeConnect.String(), "client", config.Connect.ClientID, "size", len(hello))
	first := &sniffer{Reader: c.Conn, bytes: &c.bytesIn}
	c.Reader = frames.NewReader(first, config.MaxPacket)
	f, err := frames.ReadFrame(c.Reader)
	if err == nil && f.Type() == frames.TypeConnack {
		c.Connack, err = frames.ParseConnack(f, c.Version)
	} else if err == nil || !first.isConnack() && !first.isConnect() && first.n > 0 {
		err = first.notConnack(f, err, c.Version)
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		return fmt.Errorf("mqtt: the broker closed the connection before CONNACK: %w", io.ErrUnexpectedEOF)
	default:
		return wrap("", err)
	}
	log.Debug("received", "type", frames.TypeConnack.String(), "code", int(c.Connack.Code), "session present", c.Connack.SessionPresent, "size", f.Size())
	if c.Connack.Code != frames.Success {
		return &ConnectError{Code: c.Connack.Code}
	}
	if c.Connack.SessionPresent && config.Connect.CleanSession { // always false on 3.1, whose CONNACK lacks the flag
		return wrap("", errSessionPresent)
	}
	return nil
}

// errSessionPresent says that the broker has set session present although the client asked for a
// clean session.
var errSessionPresent = &frames.ProtocolError{
	Type:   frames.TypeConnack,
	Reason: "has session present set for a clean session [MQTT-3.2.2-1]",
}

// A sniffer counts the bytes read and keeps the first bytes. If the first packet is not CONNACK,
// the error quotes these bytes.
type sniffer struct {
	io.Reader
	bytes *atomic.Uint64
	head  [24]byte
	n     int
}

func (s *sniffer) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.bytes.Add(uint64(n))
	s.n += copy(s.head[s.n:], p[:n])
	return n, err
}

func (s *sniffer) isConnack() bool { return s.head[0]>>4 == byte(frames.TypeConnack) }

// isConnect reports whether our own CONNECT came back, which must not be quoted, since it may hold
// a password.
func (s *sniffer) isConnect() bool { return s.head[0] == byte(frames.TypeConnect)<<4 }

// notConnack returns the error for a first packet other than CONNACK. The error names the type of
// the packet and does not show its payload. For bytes that are not an MQTT packet, the error quotes
// the first bytes.
func (s *sniffer) notConnack(f frames.Frame, err error, v frames.Version) error {
	if err == nil {
		if p, err := frames.Parse(f, v); err == nil {
			return &frames.ProtocolError{Type: p.Type(), Reason: "came in place of CONNACK [MQTT-3.2.0-1]"}
		}
	}
	return fmt.Errorf("the first packet is not CONNACK [MQTT-3.2.0-1]; it begins with %q", s.head[:s.n])
}
