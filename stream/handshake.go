package stream

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// handshake sends CONNECT and waits for CONNACK.
func (l *link) handshake(s *Session, hello []byte) error {
	l.began = time.Now()
	if _, err := l.conn.Write(hello); err != nil {
		return fmt.Errorf("mqtt: CONNECT: %w", err)
	}
	log := s.options.Logger
	log.Debug("sent", "type", frames.TypeConnect.String(), "client", s.options.ClientID, "size", len(hello))
	first := &sniffer{Reader: l.conn, bytes: &l.bytesIn}
	l.reader = frames.NewReader(first, s.options.MaxPacket)
	f, err := frames.ReadFrame(l.reader)
	if err == nil && f.Type() == frames.TypeConnack {
		l.connack, err = frames.ParseConnack(f, s.options.Version)
	} else if err == nil || !first.isConnack() && !first.isConnect() && first.n > 0 {
		err = first.stranger(f, err, s.options.Version)
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		return fmt.Errorf("mqtt: the broker closed the connection before CONNACK: %w", io.ErrUnexpectedEOF)
	default:
		return fmt.Errorf("mqtt: %w", err)
	}
	log.Debug("received", "type", frames.TypeConnack.String(), "code", int(l.connack.Code), "session present", l.connack.SessionPresent, "size", f.Size())
	if l.connack.Code != frames.Success {
		return &ConnectError{Code: l.connack.Code}
	}
	if l.connack.SessionPresent && !s.options.KeepSession { // 3.1 has no such flag, and none is parsed there
		return fmt.Errorf("mqtt: %w", &frames.ProtocolError{Type: frames.TypeConnack, Reason: "has session present set for a clean session [MQTT-3.2.2-1]"})
	}
	return nil
}

// A sniffer counts what is read and remembers how it began, for the error that
// says what came instead of a CONNACK.
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

// isConnect says that our own packet came back, which is not to be quoted.
func (s *sniffer) isConnect() bool { return s.head[0] == byte(frames.TypeConnect)<<4 }

// stranger says what came instead of a CONNACK: the type of a packet, whose
// payload is not to be shown, or how it begins.
func (s *sniffer) stranger(f frames.Frame, err error, v frames.Version) error {
	if err == nil {
		if p, err := frames.Parse(f, v); err == nil {
			return &frames.ProtocolError{Type: p.Type(), Reason: "came in place of CONNACK [MQTT-3.2.0-1]"}
		}
	}
	return fmt.Errorf("the first packet is not CONNACK [MQTT-3.2.0-1]; it begins with %q", s.head[:s.n])
}
