package link

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// refusals are the ways in which brokers refuse MQTT 5.
var refusals = map[string][]byte{
	"return code 1 of 3.1.1": {0x20, 2, 0, 1},
	"0x84 with properties":   connack(frames.UnsupportedProtocolVersion, &frames.ConnackProperties{Reason: "old"}),
	"0x84":                   connack(frames.UnsupportedProtocolVersion, nil),
	"0x82 in two bytes":      {0x20, 2, 0, 0x82},
	"the end":                nil,
}

// only311 returns a server that refuses MQTT 5 in the given way. The versions of CONNECT packets
// are appended to seen.
func only311(t *testing.T, refusal []byte, seen *[]frames.Version) func(net.Conn) {
	return each(t, func(p *frames.Connect) []byte {
		*seen = append(*seen, p.Version)
		if p.Version == frames.V5 {
			return refusal
		}
		return accept()
	})
}

// V1: after each kind of refusal the same attempt goes on at 3.1.1, on a new connection. The next
// attempt begins there.
func TestABrokerThatRefusesMQTT5IsAskedFor311(t *testing.T) {
	for name, refusal := range refusals {
		var seen, prepared []frames.Version
		f := &fakeNet{serve: only311(t, refusal, &seen)}
		d := newTestDialer(t, f, func(c *Config) {
			negotiating(c)
			c.Prepare = func(_ context.Context, a *Attempt) error {
				prepared = append(prepared, a.Version)
				if a.Number != 7 || (a.LastErr != nil) != (len(prepared) == 2) {
					t.Errorf("%s: the attempt has number %d and %v", name, a.Number, a.LastErr)
				}
				return nil
			}
		}, "mqtt://a")
		want := []frames.Version{frames.V5, frames.V311}
		for range 2 {
			c, err := d.Dial(t.Context(), Request{Number: 7})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if c.Version != frames.V311 {
				t.Errorf("%s: the connection has version %v", name, c.Version)
			}
			c.Abort()
			if !slices.Equal(seen, want) || !slices.Equal(prepared, want) || len(f.dialed) != len(want) {
				t.Errorf("%s: CONNECT has %v, Prepare got %v, want %v; dialed %v", name, seen, prepared, want, f.dialed)
			}
			want = append(want, frames.V311)
		}
	}
}

// V1: if 3.1.1 fails too, the endpoint is not remembered. The error is the refusal of MQTT 5,
// unless the broker refuses the second CONNECT for a reason other than its version. A failure
// without an answer is added.
func TestTheErrorOfAFailedFallback(t *testing.T) {
	unsupported := &ConnectError{Code: frames.UnsupportedProtocolVersion}
	for name, c := range map[string]struct {
		first, second []byte
		dial          error // of the second
		want          string
	}{
		"both refused": {refusals["0x84 with properties"], []byte{0x20, 2, 0, 1}, nil, unsupported.Error() + ` ("old")`},
		"both closed":  {nil, nil, nil, "mqtt: the broker closed the connection before CONNACK: unexpected EOF"},
		"closed":       {connack(frames.UnsupportedProtocolVersion, nil), nil, nil, unsupported.Error()},
		"bad password": {nil, []byte{0x20, 2, 0, 4}, nil, "mqtt: connection refused: bad user name or password"},
		"no route": {connack(frames.UnsupportedProtocolVersion, nil), nil, errRefused,
			unsupported.Error() + "; with MQTT 3.1.1: refused"},
	} {
		f := &fakeNet{refused: map[string]error{}}
		f.serve = each(t, func(p *frames.Connect) []byte {
			if p.Version == frames.V5 {
				f.refused["a:1883"] = c.dial
				return c.first
			}
			return c.second
		})
		d := newTestDialer(t, f, negotiating, "mqtt://a")
		_, err := d.Dial(t.Context(), Request{Number: 1})
		if err == nil || err.Error() != c.want || c.dial != nil && !errors.Is(err, c.dial) {
			t.Errorf("%s: the error is %v, want %s", name, err, c.want)
		}
		if Useless(err) != (name == "bad password") {
			t.Errorf("%s: rejected is %t", name, Useless(err))
		}
		if len(f.dialed) != 2 || len(d.versions.older) > 0 {
			t.Errorf("%s: dialed %v, remembered %v", name, f.dialed, d.versions.older)
		}
	}
}

// V1: a CONNECT that 3.1.1 cannot express is named beside the refusal.
func TestACONNECTThatOnlyMQTT5HasIsNamed(t *testing.T) {
	var seen []frames.Version
	f := &fakeNet{serve: only311(t, nil, &seen)}
	_, err := newTestDialer(t, f, func(c *Config) {
		negotiating(c)
		c.Connect.Will = &frames.Message{Topic: "will", Properties: &frames.Properties{ContentType: "text"}}
	}, "mqtt://a").Dial(t.Context(), Request{Number: 1})
	once(t, err, "before CONNACK", "with MQTT 3.1.1: CONNECT: ")
	var version *frames.VersionError
	if !errors.As(err, &version) || !errors.Is(err, io.ErrUnexpectedEOF) || len(f.dialed) != 1 {
		t.Errorf("the error is %v; dialed %v", err, f.dialed)
	}
}

// V1: both connections together have ConnectTimeout.
func TestBothVersionsShareConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{serve: func(c net.Conn) {
			defer c.Close()
			if p := readConnect(t, c); p.Version == frames.V5 {
				time.Sleep(2 * time.Second)
				return
			}
			c.Read(make([]byte, 1)) // until the client closes
		}}
		began := time.Now()
		_, err := newTestDialer(t, f, func(c *Config) { negotiating(c); c.ConnectTimeout = 3 * time.Second }, "mqtt://a").Dial(t.Context(), Request{Number: 1})
		once(t, err, "before CONNACK", "with MQTT 3.1.1", "ConnectTimeout (3s)")
		if took := time.Since(began); took != 3*time.Second || !errors.Is(err, context.DeadlineExceeded) || len(f.dialed) != 2 {
			t.Errorf("after %v: %v; dialed %v", took, err, f.dialed)
		}
	})
}

// A brokenConn is a connection whose reads fail.
type brokenConn struct {
	net.Conn
	err error
}

func (c brokenConn) Read([]byte) (int, error) { return 0, c.err }

// V2: neither a failure of the network or of TLS nor a refusal for another reason leads to 3.1.1.
func TestOnlyARefusalOfTheVersionLeadsTo311(t *testing.T) {
	replies := map[string][]byte{
		"bad credentials":   connack(frames.BadUserNameOrPassword, nil),
		"not authorized":    connack(frames.NotAuthorized, nil),
		"bad method":        connack(frames.BadAuthenticationMethod, nil),
		"protocol error":    connack(frames.ProtocolViolation, &frames.ConnackProperties{Reason: "no"}),
		"0x87 in two bytes": {0x20, 2, 0, 0x87},
		"code 5 of 3.1.1":   {0x20, 2, 0, 5},
		"half a CONNACK":    {0x20, 3, 0},
		"success of 3.1.1":  {0x20, 2, 0, 0},
		"another service":   []byte("SSH-2.0-server\r\n"),
	}
	for name, reply := range replies {
		f := &fakeNet{serve: answer(reply...)}
		if _, err := newTestDialer(t, f, negotiating, "mqtt://a").Dial(t.Context(), Request{Number: 1}); err == nil || len(f.dialed) != 1 {
			t.Errorf("%s: %v; dialed %v", name, err, f.dialed)
		}
	}
	f := &fakeNet{refused: map[string]error{"a:1883": syscall.ECONNREFUSED}, serve: func(c net.Conn) {
		c.Read(make([]byte, 4096)) // the first message of TLS
		c.Write(replies["another service"])
		c.Close()
	}}
	for url, count := range map[string]int{"mqtt://a": 1, "mqtts://b": 1} {
		f.dialed = nil
		if _, err := newTestDialer(t, f, negotiating, url).Dial(t.Context(), Request{Number: 1}); err == nil || len(f.dialed) != count {
			t.Errorf("%s: %v; dialed %v", url, err, f.dialed)
		}
	}
	for _, fault := range []error{syscall.ECONNRESET, os.ErrDeadlineExceeded, io.ErrUnexpectedEOF} {
		f := &fakeNet{serve: answer()}
		_, err := newTestDialer(t, f, func(c *Config) {
			negotiating(c)
			c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := f.dial(ctx, network, addr)
				return brokenConn{conn, fault}, err
			}
		}, "mqtt://a").Dial(t.Context(), Request{Number: 1})
		if !errors.Is(err, fault) || len(f.dialed) != 1 {
			t.Errorf("%v: %v; dialed %v", fault, err, f.dialed)
		}
	}
}

// V2: a broker that does not answer is not asked for 3.1.1.
func TestASilentBrokerIsNotAskedFor311(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{serve: func(c net.Conn) { io.Copy(io.Discard, c) }}
		_, err := newTestDialer(t, f, func(c *Config) { negotiating(c); c.ConnectTimeout = time.Second }, "mqtt://a").Dial(t.Context(), Request{Number: 1})
		if !errors.Is(err, context.DeadlineExceeded) || len(f.dialed) != 1 {
			t.Errorf("%v; dialed %v", err, f.dialed)
		}
	})
}

// V3: an hour after the fallback, MQTT 5 is tried first again.
func TestAfterAnHourMQTT5IsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []frames.Version
		f := &fakeNet{serve: only311(t, refusals["0x84"], &seen)}
		d := newTestDialer(t, f, negotiating, "mqtt://a")
		dial := func() (got []frames.Version) {
			seen = nil
			c, err := d.Dial(t.Context(), Request{Number: 1})
			if err != nil {
				t.Fatal(err)
			}
			c.Abort()
			return seen
		}
		both, one := []frames.Version{frames.V5, frames.V311}, []frames.Version{frames.V311}
		for _, step := range []struct {
			wait time.Duration
			want []frames.Version
		}{{0, both}, {time.Hour / 2, one}, {time.Hour/2 - 1, one}, {1, both}, {time.Hour - 1, one}, {1, both}} {
			time.Sleep(step.wait)
			if got := dial(); !slices.Equal(got, step.want) {
				t.Errorf("CONNECT has the versions %v, want %v", got, step.want)
			}
		}
		f.serve = answer(connack(frames.Success, nil)...)
		time.Sleep(time.Hour)
		if dial(); len(d.versions.older) > 0 {
			t.Errorf("a broker that knows MQTT 5 is remembered: %v", d.versions.older)
		}
	})
}

// V3: the version of a kept session comes first, and the other one only after a refusal of it.
func TestTheVersionOfAKeptSessionComesFirst(t *testing.T) {
	var seen []frames.Version
	var knows frames.Version
	f := &fakeNet{serve: each(t, func(p *frames.Connect) []byte {
		seen = append(seen, p.Version)
		switch {
		case p.Version != knows:
			return []byte{0x20, 2, 0, 1}
		case knows == frames.V5:
			return connack(frames.Success, nil)
		}
		return accept()
	})}
	for _, c := range []struct {
		pinned, knows frames.Version
		want          []frames.Version
	}{
		{frames.V311, frames.V311, []frames.Version{frames.V311}},
		{frames.V311, frames.V5, []frames.Version{frames.V311, frames.V5}},
		{frames.V5, frames.V5, []frames.Version{frames.V5}},
		{frames.V5, frames.V311, []frames.Version{frames.V5, frames.V311}},
		{frames.V5, frames.V311, []frames.Version{frames.V5, frames.V311}}, // although it is remembered
	} {
		seen, knows = nil, c.knows
		conn, err := newTestDialer(t, f, negotiating, "mqtt://a").Dial(t.Context(), Request{Number: 1, Pinned: c.pinned})
		if err != nil {
			t.Fatal(err)
		}
		if conn.Abort(); !slices.Equal(seen, c.want) || conn.Version != c.knows {
			t.Errorf("pinned %v at a broker of %v: %v, want %v", c.pinned, c.knows, seen, c.want)
		}
	}
	v := versions{older: map[string]time.Time{"a": time.Now()}}
	if got := v.toTry("a", frames.V5, time.Now()); got[0] != frames.V5 {
		t.Errorf("a session of MQTT 5 begins with %v", got[0])
	}
}

// V4: with a fixed version, no other one is tried. Enhanced authentication fixes version 5, because
// 3.1.1 has none.
func TestAFixedVersionDoesNotFallBack(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"fixed": version5,
		"authentication": func(c *Config) {
			negotiating(c)
			c.Authenticate = func(context.Context) (Exchange, error) { return &script{}, nil }
		},
	} {
		for face, refusal := range refusals {
			var seen []frames.Version
			f := &fakeNet{serve: only311(t, refusal, &seen)}
			_, err := newTestDialer(t, f, change, "mqtt://a").Dial(t.Context(), Request{Number: 1, Pinned: frames.V311})
			if err == nil || len(f.dialed) != 1 || !slices.Equal(seen, []frames.Version{frames.V5}) {
				t.Errorf("%s, %s: %v; dialed %v, CONNECT has %v", name, face, err, f.dialed, seen)
			}
			if name := face; name == "0x84" || name == "return code 1 of 3.1.1" {
				var refused *ConnectError
				if !errors.As(err, &refused) || !errors.Is(err, frames.UnsupportedProtocolVersion) {
					t.Errorf("%s: the error is %v", name, err)
				}
			}
		}
	}
}

// Redirects lead to ever new endpoints, so the memory of endpoints must not grow for ever.
func TestEndpointsAreForgottenAfterAnHour(t *testing.T) {
	var v versions
	began := time.Now()
	v.accepted("a", frames.V311, true, began)
	v.accepted("b", frames.V311, false, began) // MQTT 5 was not refused
	v.accepted("c", frames.V311, true, began.Add(time.Hour))
	if _, c := v.older["c"]; len(v.older) != 1 || !c {
		t.Errorf("remembered are %v", v.older)
	}
}
