package link

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fakeNet answers dials. For an address in refused it returns that error, otherwise a pipe whose
// other end the server of the address gets, or else serve.
type fakeNet struct {
	refused map[string]error
	servers map[string]func(net.Conn)
	serve   func(net.Conn)
	dialed  []string
}

func (f *fakeNet) dial(_ context.Context, _, addr string) (net.Conn, error) {
	f.dialed = append(f.dialed, addr)
	if err := f.refused[addr]; err != nil {
		return nil, err
	}
	ours, theirs := net.Pipe()
	serve := f.servers[addr]
	if serve == nil {
		serve = f.serve
	}
	go serve(theirs)
	return ours, nil
}

// negotiating makes a test dialer negotiate the version, or use version 5.
func negotiating(c *Config) { c.Connect.Version = 0 }
func version5(c *Config)    { c.Connect.Version = frames.V5 }

// each returns a server that parses CONNECT, sends the bytes that reply returns, and closes.
func each(t *testing.T, reply func(*frames.Connect) []byte) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		if p := readConnect(t, c); p != nil {
			c.Write(reply(p))
		}
	}
}

// readConnect reads a CONNECT. It returns nil if the client closes the connection instead.
func readConnect(t *testing.T, c net.Conn) *frames.Connect {
	f, err := frames.ReadFrame(frames.NewReader(c, 1<<20))
	if err != nil {
		return nil
	}
	p, err := frames.ParseConnect(f)
	if err != nil {
		t.Error(err)
		return nil
	}
	return &p
}

// connack returns an encoded CONNACK of MQTT 5.
func connack(code frames.ReasonCode, p *frames.ConnackProperties) []byte {
	return encoded(frames.Connack{Code: code, Properties: p})
}

// encoded returns the bytes of a packet of MQTT 5.
func encoded(p interface {
	Append([]byte, frames.Version) ([]byte, error)
}) []byte {
	b, err := p.Append(nil, frames.V5)
	if err != nil {
		panic(err)
	}
	return b
}

// once fails the test unless the text of err has the prefix mqtt: once, and each part.
func once(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	text := err.Error()
	if !strings.HasPrefix(text, "mqtt: ") || strings.Count(text, "mqtt: ") != 1 {
		t.Errorf("the prefix is not there once: %s", text)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("the error is %s, want %q in it", text, part)
		}
	}
}

// answer returns a server that reads CONNECT, sends bytes and closes.
func answer(bytes ...byte) func(net.Conn) {
	return func(c net.Conn) {
		frames.ReadFrame(frames.NewReader(c, 1<<20))
		c.Write(bytes)
		c.Close()
	}
}

// accept is CONNACK with code 0.
func accept() []byte { return []byte{0x20, 2, 0, 0} }

func newTestDialer(t *testing.T, f *fakeNet, change func(*Config), url string, fallbacks ...string) *Dialer {
	t.Helper()
	endpoints, err := ParseEndpoints(url, fallbacks)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Connect: frames.Connect{Version: frames.V311, CleanSession: true}, DialContext: f.dial,
		MaxPacket: 1 << 20, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	return NewDialer(c, endpoints)
}

var errRefused = errors.New("refused")
