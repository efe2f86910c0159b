package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

func TestTheHandshakeErrorNamesTheCause(t *testing.T) {
	var violation *frames.ProtocolError
	for name, c := range map[string]struct {
		answer []byte
		is     func(error) bool
		text   string
	}{
		"a refusal":       {[]byte{0x20, 2, 0, 5}, func(err error) bool { return errors.Is(err, frames.NotAuthorized) }, "connection refused: not authorized"},
		"the end":         {nil, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }, "closed the connection before CONNACK"},
		"another packet":  {[]byte{0xd0, 0}, func(err error) bool { return errors.As(err, &violation) }, "PINGRESP: came in place of CONNACK"},
		"another service": {[]byte("SSH-2.0-server"), func(error) bool { return true }, `it begins with "SSH-2.0-server"`},
		"a session that a clean one cannot have": {[]byte{0x20, 2, 1, 0},
			func(err error) bool { return errors.As(err, &violation) }, "session present"},
	} {
		f := &fakeNet{serve: answer(c.answer...)}
		_, err := newTestDialer(t, f, nil, "mqtt://a").Dial(t.Context(), Request{Number: 1})
		if err == nil || !c.is(err) || !strings.Contains(err.Error(), c.text) || strings.Count(err.Error(), "mqtt: ") != 1 {
			t.Errorf("%s: the error is %v, want %q in it", name, err, c.text)
		}
	}
}

func TestAConnKnowsItsHandshake(t *testing.T) {
	f := &fakeNet{serve: answer(append(accept(), 0xd0, 0)...)}
	c, err := newTestDialer(t, f, nil, "mqtt://user:secret@a").Dial(t.Context(), Request{Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	if c.Endpoint != "mqtt://a:1883" || c.Version != frames.V311 || c.Connack.Code != frames.Success || c.Began.IsZero() {
		t.Errorf("%+v", c.Connack)
	}
	if frame, err := frames.ReadFrame(c.Reader); err != nil || frame.Type() != frames.TypePingresp {
		t.Errorf("behind CONNACK comes %v, %v", frame, err)
	}
	if n := c.BytesIn(); n != 6 {
		t.Errorf("%d bytes came in", n)
	}
	if n := c.TryWrite([]byte("x")); n != 0 {
		t.Errorf("a pipe, which is no socket, took %d bytes", n)
	}
}

// V5: a CONNACK that breaks the standard is refused with DISCONNECT: 0x81 for a fault of the
// encoding, 0x82 for another one. Nothing behind that CONNACK is handled.
func TestAMalformedCONNACKIsRefusedWithItsCode(t *testing.T) {
	with := func(properties ...byte) []byte {
		return append([]byte{0x20, byte(3 + len(properties)), 0, 0, byte(len(properties))}, properties...)
	}
	for name, c := range map[string]struct {
		connack []byte
		code    frames.ReasonCode
	}{
		"a property twice":               {with(0x22, 0, 1, 0x22, 0, 1), 0x82},
		"a property of another packet":   {with(0x23, 0, 1), 0x82},
		"an unknown property":            {with(0x7f, 0), 0x81},
		"Receive Maximum 0":              {with(0x21, 0, 0), 0x82},
		"Maximum QoS 2":                  {with(0x24, 2), 0x82},
		"Maximum Packet Size 0":          {with(0x27, 0, 0, 0, 0), 0x82},
		"Retain Available 2":             {with(0x25, 2), 0x82},
		"a property cut short":           {with(0x21, 1), 0x81},
		"a length past the end":          {[]byte{0x20, 3, 0, 0, 9}, 0x81},
		"a length in too many bytes":     {[]byte{0x20, 4, 0, 0, 0x80, 0}, 0x81},
		"no properties":                  {[]byte{0x20, 2, 0, 0}, 0x81},
		"bytes behind the properties":    {[]byte{0x20, 4, 0, 0, 0, 0}, 0x81},
		"a session for a clean start":    {[]byte{0x20, 3, 1, 0, 0}, 0x82}, // V11
		"a packet over the limit":        {[]byte{0x20, 0xff, 0xff, 0xff, 0x7f}, 0x95},
		"PUBLISH in place of CONNACK":    {[]byte{0x30, 5, 0, 1, 'a', 0, 'x'}, 0x82}, // V16
		"DISCONNECT in place of CONNACK": {[]byte{0xe0, 1, 0x8b}, 0x82},              // V16
	} {
		got := make(chan []byte, 9)
		f := &fakeNet{serve: challenges(t, got, append(c.connack, 0xd0, 0))}
		_, err := newTestDialer(t, f, version5, "mqtt://a").Dial(t.Context(), Request{Number: 1})
		once(t, err)
		var fault interface{ Code() frames.ReasonCode }
		if !errors.As(err, &fault) || fault.Code() != c.code {
			t.Errorf("%s: the error is %v", name, err)
		}
		if bye := <-got; !bytes.Equal(bye, []byte{0xe0, 1, byte(c.code)}) {
			t.Errorf("%s: the last packet is %x, want DISCONNECT with %#x", name, bye, byte(c.code))
		}
		if more, open := <-got; open {
			t.Errorf("%s: then comes %x", name, more)
		}
	}
}

// V16: the error says which packet came first, and is no refusal.
func TestTheFirstPacketOfMQTT5IsNamed(t *testing.T) {
	for first, text := range map[string]string{
		"\xe0\x01\x8b":           "DISCONNECT: came in place of CONNACK",
		"\x30\x05\x00\x01a\x00x": "PUBLISH: came in place of CONNACK",
		"\xf0\x00":               "AUTH: came in place of CONNACK",
		"\xd0\x00":               "PINGRESP: came in place of CONNACK",
	} {
		f := &fakeNet{serve: answer([]byte(first)...)}
		_, err := newTestDialer(t, f, version5, "mqtt://a").Dial(t.Context(), Request{Number: 1})
		once(t, err, text)
		var refused *ConnectError
		if errors.As(err, &refused) {
			t.Errorf("%s: the error is a refusal: %v", text, err)
		}
	}
}

// A PUBLISH before CONNACK, in the form of any version, damaged or cut short, does not make an
// error show its payload, nor does one behind another packet.
func TestAPUBLISHBeforeCONNACKDoesNotShowItsPayload(t *testing.T) {
	for _, version := range []frames.Version{frames.V311, frames.V5} {
		for first, text := range map[string]string{
			"\x30\x07\x00\x01ahush":                     "PUBLISH: came in place of CONNACK [MQTT-3.2.0-1], in 9 bytes",
			"\x30\x08\x00\x01a\x00hush":                 "PUBLISH: came in place of CONNACK [MQTT-3.2.0-1], in 10 bytes",
			"\x30\x07\x00\x01#hush":                     "PUBLISH: came in place of CONNACK [MQTT-3.2.0-1], in 9 bytes",
			"\x36\x09\x00\x01a\x00\x01hush":             "PUBLISH",
			"\x30\x7f\x00\x01ahush":                     "EOF",
			"\x30\xff\xff\xff\x7f\x00\x01ahush":         "limit",
			"\x40\x03\x00\x00\x05\x30\x07\x00\x01ahush": `begins with "@\x03\x00\x00\x05"`,
		} {
			f := &fakeNet{serve: func(c net.Conn) {
				readConnect(t, c)
				c.Write([]byte(first))
				c.Close()
			}}
			_, err := newTestDialer(t, f, func(c *Config) { c.Connect.Version = version }, "mqtt://a").Dial(t.Context(), Request{Number: 1})
			once(t, err, text)
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("MQTT %v: %v", version, err)
			}
		}
	}
}

// A service that sends our CONNECT back, whole, changed or cut short, does not make an error show
// the password.
func TestAnEchoDoesNotShowThePassword(t *testing.T) {
	for _, version := range []frames.Version{frames.V311, frames.V5} {
		for _, change := range []func([]byte) []byte{
			func(b []byte) []byte { return b },
			func(b []byte) []byte { b[7] = 'X'; return b }, // of the protocol name
			func(b []byte) []byte { return b[:len(b)-1] },
		} {
			f := &fakeNet{serve: func(c net.Conn) {
				buffer := make([]byte, 4096)
				n, _ := c.Read(buffer)
				c.Write(change(buffer[:n]))
				c.Close()
			}}
			_, err := newTestDialer(t, f, func(c *Config) { c.Connect.Version = version }, "mqtt://u:hush@a").Dial(t.Context(), Request{Number: 1})
			if once(t, err); strings.Contains(err.Error(), "hush") {
				t.Errorf("MQTT %v: %v", version, err)
			}
		}
	}
}

// V5: the DISCONNECT that refuses a CONNACK holds up the attempt for at most a second, also if the
// broker does not read and the connection knows no deadlines.
func TestARefusalWaitsForAtMostOneSecond(t *testing.T) {
	server, client := exampleTLS(t)
	for _, deadlines := range []bool{true, false} {
		for _, url := range []string{"mqtt://a", "mqtts://example.com"} {
			synctest.Test(t, func(t *testing.T) {
				done := make(chan struct{})
				defer close(done)
				serve := func(c net.Conn) {
					readConnect(t, c)
					c.Write([]byte{0x20, 3, 0, 0, 9})
					<-done
				}
				f := &fakeNet{serve: serve, servers: map[string]func(net.Conn){"example.com:8883": overTLS(server, serve)}}
				d := newTestDialer(t, f, version5, url)
				d.config.TLS = client
				d.config.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := f.dial(ctx, network, addr)
					if !deadlines {
						c = noDeadlines{c}
					}
					return c, err
				}
				began := time.Now()
				_, err := d.Dial(t.Context(), Request{Number: 1})
				once(t, err, "CONNACK")
				if took := time.Since(began); took != time.Second {
					t.Errorf("%s, deadlines %t: it took %v", url, deadlines, took)
				}
			})
		}
	}
}

// noDeadlines is a connection that knows no deadlines.
type noDeadlines struct{ net.Conn }

func (noDeadlines) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (noDeadlines) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (noDeadlines) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// Before MQTT 5 no code can say why a CONNACK is refused, so nothing follows CONNECT.
func TestACONNACKOf311IsRefusedInSilence(t *testing.T) {
	got := make(chan []byte, 9)
	f := &fakeNet{serve: challenges(t, got, []byte{0x20, 3, 0, 0, 9})}
	_, err := newTestDialer(t, f, nil, "mqtt://a").Dial(t.Context(), Request{Number: 1})
	if once(t, err, "CONNACK"); len(<-got) > 0 {
		t.Error("a packet follows CONNECT")
	}
}

// V6, V7: the client identifier that the broker assigns is that of the connection, and of the next
// CONNECT. If the broker assigns none, a clean client goes on, and a kept session is refused.
func TestTheBrokerAssignsAClientIdentifier(t *testing.T) {
	for name, c := range map[string]struct {
		own, earlier, assigned string
		kept                   bool
		sent, want             string
		logged, refused        bool
	}{
		"assigned":             {"", "", "X", false, "", "X", false, false},
		"assigned to a kept":   {"", "", "X", true, "", "X", false, false},
		"assigned earlier":     {"", "X", "", true, "X", "X", false, false},
		"the client has one":   {"own", "", "X", true, "own", "own", true, false},
		"another one later":    {"", "X", "Y", true, "X", "X", true, false},
		"none for a clean one": {"", "", "", false, "", "", false, false},
		"none for a kept one":  {"", "", "", true, "", "", false, true},
	} {
		var log bytes.Buffer
		var sent *frames.Connect
		got := make(chan []byte, 9)
		f := &fakeNet{serve: func(conn net.Conn) {
			sent = readConnect(t, conn)
			conn.Write(connack(frames.Success, &frames.ConnackProperties{AssignedClientID: c.assigned}))
			bye, _ := io.ReadAll(conn)
			got <- bye
		}}
		conn, err := newTestDialer(t, f, func(o *Config) {
			version5(o)
			o.Connect.ClientID, o.Connect.CleanSession = c.own, !c.kept
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		}, "mqtt://a").Dial(t.Context(), Request{Number: 1, ClientID: c.earlier})
		if c.refused {
			once(t, err, "CONNACK: has no assigned client identifier [MQTT-3.2.2-16]")
			if bye := <-got; !bytes.Equal(bye, []byte{0xe0, 1, 0x82}) {
				t.Errorf("%s: the last packet is %x", name, bye)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		conn.Abort()
		if sent.ClientID != c.sent || sent.CleanSession == c.kept || conn.ClientID != c.want {
			t.Errorf("%s: CONNECT has %q, clean start %t; the identifier is %q", name, sent.ClientID, sent.CleanSession, conn.ClientID)
		}
		if logged := strings.Contains(log.String(), "level=WARN"); logged != c.logged {
			t.Errorf("%s: the log is %s", name, log.String())
		}
	}
}

// V11: decision D-1 takes over a session that the client has not known.
func TestAKeptSessionMayBePresent(t *testing.T) {
	f := &fakeNet{serve: answer(encoded(frames.Connack{SessionPresent: true})...)}
	c, err := newTestDialer(t, f, func(c *Config) {
		version5(c)
		c.Connect.ClientID, c.Connect.CleanSession = "own", false
	}, "mqtt://a").Dial(t.Context(), Request{Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	if c.Abort(); !c.Connack.SessionPresent {
		t.Error("the session is not present")
	}
}

// V10: a refusal has everything that the broker says about it.
func TestARefusalHasItsReason(t *testing.T) {
	user := []frames.UserProperty{{Name: "k", Value: "v"}, {Name: "k", Value: "w"}}
	f := &fakeNet{serve: answer(connack(frames.QuotaExceeded, &frames.ConnackProperties{
		Reason: "full\n\x1b[31m \u202e", User: user, ServerReference: "b"})...)}
	_, err := newTestDialer(t, f, version5, "mqtt://a").Dial(t.Context(), Request{Number: 1})
	var refused *ConnectError
	if !errors.As(err, &refused) || refused.Reason != "full\n\x1b[31m \u202e" || refused.ServerReference != "b" || !slices.Equal(refused.User, user) {
		t.Errorf("the error is %#v", err)
	}
	if want := `mqtt: connection refused: quota exceeded ("full\n\x1b[31m \u202e")`; err.Error() != want || !errors.Is(err, frames.QuotaExceeded) {
		t.Errorf("the error is %s, want %s", err, want)
	}
}
