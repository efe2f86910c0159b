package link

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt/frames"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fakeNet answers dials. For an address in refused it returns that error, otherwise a pipe whose
// other end serve gets.
type fakeNet struct {
	refused map[string]error
	serve   func(net.Conn)
	dialed  []string
}

func (f *fakeNet) dial(_ context.Context, _, addr string) (net.Conn, error) {
	f.dialed = append(f.dialed, addr)
	if err := f.refused[addr]; err != nil {
		return nil, err
	}
	ours, theirs := net.Pipe()
	go f.serve(theirs)
	return ours, nil
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
