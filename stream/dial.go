package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// A link is one connection to the broker whose handshake has succeeded.
type link struct {
	conn    net.Conn   // TLS, if any, included: read by the reader, written by the writer
	raw     *timedConn // under it
	reader  *frames.Reader
	connack frames.Connack
	began   time.Time     // when CONNECT was sent
	bytesIn atomic.Uint64 // everything read, whole packets or not
}

// dial makes a connection and shakes hands, within ConnectTimeout. It runs on
// the reader's goroutine.
func (s *Session) dial(ctx context.Context) (*link, error) {
	o := &s.options
	if o.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.ConnectTimeout, fmt.Errorf("no connection within ConnectTimeout (%v): %w", o.ConnectTimeout, context.DeadlineExceeded))
		defer cancel()
	}
	user, password := o.Username, o.Password
	if o.Credentials != nil {
		var err error
		if user, password, err = o.Credentials(ctx); err != nil {
			return nil, fmt.Errorf("mqtt: Credentials: %w", because(ctx, err))
		}
	}
	connect := o.connect(user, password)
	if err := connect.Validate(); err != nil {
		return nil, fmt.Errorf("mqtt: Credentials: %w", err)
	}
	hello, err := connect.Append(nil, o.Version)
	if err != nil {
		return nil, fmt.Errorf("mqtt: Credentials: %w", err)
	}

	raw, err := o.DialContext(ctx, s.endpoint.network, s.endpoint.addr)
	if err != nil {
		return nil, fmt.Errorf("mqtt: %w", because(ctx, err))
	}
	l := &link{raw: &timedConn{Conn: raw, timeout: o.WriteTimeout}}
	// From here on the end of ctx closes the connection, which ends whatever waits on it.
	release := context.AfterFunc(ctx, func() { raw.Close() })
	err = l.handshake(ctx, s, hello)
	if !release() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		return nil, because(ctx, err)
	}
	return l, nil
}

// because prefers the reason why ctx ended to the error that this led to.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", cause, err)
	}
	return err
}

func (l *link) handshake(ctx context.Context, s *Session, hello []byte) error {
	l.conn = l.raw
	if s.endpoint.tls {
		t := tls.Client(l.raw, s.tlsConfig())
		if err := t.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("mqtt: TLS: %w", err)
		}
		l.conn = t
	}
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
	if l.connack.Code != frames.Accepted {
		return &ConnectError{Code: l.connack.Code}
	}
	if l.connack.SessionPresent && !s.options.KeepSession { // 3.1 has no such flag, and none is parsed there
		return fmt.Errorf("mqtt: %w", &frames.ProtocolError{Type: frames.TypeConnack, Reason: "has session present set for a clean session [MQTT-3.2.2-1]"})
	}
	return nil
}

func (s *Session) tlsConfig() *tls.Config {
	c := s.options.TLS.Clone()
	if c == nil {
		c = new(tls.Config)
	}
	if c.ServerName == "" {
		c.ServerName = s.endpoint.host
	}
	return c
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

// hangUp closes the connection under TLS: a close that must not wait for a
// peer, and that is not to look like an orderly end.
func (l *link) hangUp() { l.raw.Close() }

// closeWrite tells the broker that nothing more comes, where the connection can.
func (l *link) closeWrite() {
	if c, ok := l.conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite() // its failure shows in what is read
	}
}

// hangUpOrderly closes after DISCONNECT.
func (l *link) hangUpOrderly() { l.conn.Close() }
