package link

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// V77: a permanent redirect holds for later attempts, another one does not. A chain is permanent if
// each of its redirects is.
func TestOnlyAPermanentRedirectHolds(t *testing.T) {
	const moved, other = frames.ServerMoved, frames.UseAnotherServer
	for _, c := range []struct {
		first, second frames.ReasonCode
		next          string // the endpoint with which the next attempt begins
	}{{moved, 0, "b:1883"}, {other, 0, "a:1883"}, {moved, moved, "c:1883"}, {moved, other, "a:1883"}, {other, moved, "a:1883"}} {
		f := &fakeNet{serve: accepts(), servers: map[string]func(net.Conn){"a:1883": moves(c.first, "b")}}
		if c.second != 0 {
			f.servers["b:1883"] = moves(c.second, "c")
		}
		d := newTestDialer(t, f, following(plain), "mqtt://a")
		for range 3 {
			f.dialed = nil
			if _, err := dialOnce(t, d, Request{Number: 1}); err != nil {
				t.Fatal(err)
			}
		}
		if f.dialed[0] != c.next || (d.moved != nil) != (c.next != "a:1883") {
			t.Errorf("%v, %v: the next attempt dialed %v; moved to %v", c.first, c.second, f.dialed, d.moved)
		}
	}
}

// V77: if the new endpoint fails, the attempt goes on at the URL, where it stays, and the error of
// a failed attempt names both.
func TestAMovedBrokerThatFailsIsForgotten(t *testing.T) {
	f := &fakeNet{refused: map[string]error{}, serve: accepts(), servers: map[string]func(net.Conn){"a:1883": moves(frames.ServerMoved, "b")}}
	d := newTestDialer(t, f, following(plain), "mqtt://a")
	dial := func(want string, dialed ...string) error {
		t.Helper()
		f.dialed = nil
		endpoint, err := dialOnce(t, d, Request{Number: 1})
		if endpoint != want || !slices.Equal(f.dialed, dialed) {
			t.Errorf("connected to %q, dialed %v, want %q, %v", endpoint, f.dialed, want, dialed)
		}
		return err
	}
	dial("mqtt://b:1883", "a:1883", "b:1883")
	dial("mqtt://b:1883", "b:1883")
	f.refused["b:1883"] = errRefused
	f.servers["a:1883"] = accepts()
	dial("mqtt://a:1883", "b:1883", "a:1883")
	dial("mqtt://a:1883", "a:1883")
	if d.moved != nil {
		t.Errorf("the URL itself counts as moved: %v", d.moved)
	}
	delete(f.refused, "b:1883")
	f.servers["a:1883"] = moves(frames.ServerMoved, "b")
	dial("mqtt://b:1883", "a:1883", "b:1883")
	f.refused["a:1883"], f.refused["b:1883"] = errors.New("no route"), errRefused
	err := dial("", "b:1883", "a:1883")
	if want := "mqtt: mqtt://b:1883: refused; mqtt://a:1883: no route"; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// V77: a context that ends while the new endpoint is dialed does not make the client forget it.
func TestTheEndOfTheContextKeepsThePermanentRedirect(t *testing.T) {
	f := &fakeNet{serve: accepts(), servers: map[string]func(net.Conn){"a:1883": moves(frames.ServerMoved, "b")}}
	d := newTestDialer(t, f, following(plain), "mqtt://a")
	if _, err := dialOnce(t, d, Request{Number: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	f.servers["b:1883"] = func(c net.Conn) { cancel(errRefused); c.Read(make([]byte, 99)); c.Close() }
	f.dialed = nil
	if _, err := d.Dial(ctx, Request{Number: 1}); !errors.Is(err, errRefused) || len(f.dialed) != 1 {
		t.Errorf("the error is %v; dialed %v", err, f.dialed)
	}
	f.dialed, f.servers["b:1883"] = nil, nil
	if endpoint, _ := dialOnce(t, d, Request{Number: 2}); endpoint != "mqtt://b:1883" || len(f.dialed) != 1 {
		t.Errorf("connected to %s, dialed %v", endpoint, f.dialed)
	}
}

// V77: a DISCONNECT that refers to another broker is the first redirect of the next attempt.
func TestADISCONNECTIsFollowed(t *testing.T) {
	const moved, other = frames.ServerMoved, frames.UseAnotherServer
	for name, c := range map[string]struct {
		code    frames.ReasonCode
		servers map[string]func(net.Conn) // a and b accept
		number  int
		dialed  []string
		next    []string // by the attempt after it
	}{
		"moved":               {moved, nil, 1, []string{"b:1883"}, []string{"b:1883"}},
		"another server":      {other, nil, 1, []string{"b:1883"}, []string{"a:1883"}},
		"a later attempt":     {moved, nil, 2, []string{"a:1883"}, []string{"a:1883"}},
		"another code":        {frames.ServerShuttingDown, nil, 1, []string{"a:1883"}, []string{"a:1883"}},
		"moved on":            {moved, map[string]func(net.Conn){"b:1883": moves(moved, "c")}, 1, []string{"b:1883", "c:1883"}, []string{"c:1883"}},
		"another moved":       {other, map[string]func(net.Conn){"b:1883": moves(moved, "c")}, 1, []string{"b:1883", "c:1883"}, []string{"a:1883"}},
		"back":                {other, map[string]func(net.Conn){"b:1883": moves(moved, "a")}, 1, []string{"b:1883", "a:1883"}, []string{"a:1883"}},
		"a broker that fails": {moved, map[string]func(net.Conn){"b:1883": answer()}, 1, []string{"b:1883", "a:1883"}, []string{"a:1883"}},
	} {
		f := &fakeNet{serve: accepts(), servers: c.servers}
		var hops []int
		d := newTestDialer(t, f, following(func(ctx context.Context, r Redirect) (string, error) {
			if hops = append(hops, r.Hop); r.Hop == 1 && r.From != "mqtt://a:1883" {
				t.Errorf("%s: the redirect comes from %s", name, r.From)
			}
			return plain(ctx, r)
		}), "mqtt://a")
		if _, err := dialOnce(t, d, Request{Number: 1}); err != nil {
			t.Fatal(err)
		}
		for i, want := range [][]string{c.dialed, c.next} {
			r := Request{Number: c.number, LastErr: &endpointError{d.used, &DisconnectError{Code: c.code, ServerReference: "b"}}}
			if i == 1 {
				r.LastErr = errRefused
			}
			f.dialed = nil
			if _, err := dialOnce(t, d, r); err != nil || !slices.Equal(f.dialed, want) {
				t.Errorf("%s: %v; dialed %v, want %v", name, err, f.dialed, want)
			}
		}
		for i, hop := range hops {
			if hop != i+1 {
				t.Errorf("%s: the hops are %v", name, hops)
			}
		}
	}
}

// V77: a broker that is used for a time cannot replace the broker that referred to it. A broker in
// the place of the URL can. Then its own place is no longer tried.
func TestABrokerForATimeSpeaksForItself(t *testing.T) {
	for code, c := range map[frames.ReasonCode]struct{ next, fails []string }{
		frames.UseAnotherServer: {[]string{"a:1883", "b:1883"}, []string{"c:1883", "a:1883", "b:1883"}},
		frames.ServerMoved:      {[]string{"c:1883"}, []string{"c:1883", "a:1883", "b:1883"}},
	} {
		for _, fails := range []bool{false, true} {
			f := &fakeNet{refused: map[string]error{}, serve: accepts(), servers: map[string]func(net.Conn){"a:1883": moves(code, "b")}}
			d := newTestDialer(t, f, following(plain), "mqtt://a")
			if endpoint, err := dialOnce(t, d, Request{Number: 1}); endpoint != "mqtt://b:1883" {
				t.Fatal(endpoint, err)
			}
			want := []string{"c:1883"}
			if fails {
				f.refused["c:1883"], want = errRefused, c.fails
			}
			f.dialed = nil
			bye := &DisconnectError{Code: frames.ServerMoved, ServerReference: "c"}
			if _, err := dialOnce(t, d, Request{Number: 1, LastErr: bye}); err != nil || !slices.Equal(f.dialed, want) {
				t.Errorf("%v: %v; dialed %v, want %v", code, err, f.dialed, want)
			}
			if fails {
				continue
			}
			f.dialed = nil
			if _, err := dialOnce(t, d, Request{Number: 1, LastErr: errRefused}); err != nil || !slices.Equal(f.dialed, c.next) {
				t.Errorf("%v: %v; the next attempt dialed %v, want %v", code, err, f.dialed, c.next)
			}
		}
	}
}

// V77: a moved broker that refers to another one for a time is not forgotten when that one fails.
func TestATemporaryRedirectThatFailsKeepsThePermanentOne(t *testing.T) {
	f := &fakeNet{refused: map[string]error{"c:1883": errRefused}, serve: accepts(), servers: map[string]func(net.Conn){"a:1883": moves(frames.ServerMoved, "b")}}
	d := newTestDialer(t, f, following(plain), "mqtt://a")
	if _, err := dialOnce(t, d, Request{Number: 1}); err != nil {
		t.Fatal(err)
	}
	f.dialed = nil
	bye := &DisconnectError{Code: frames.UseAnotherServer, ServerReference: "c"}
	if endpoint, err := dialOnce(t, d, Request{Number: 1, LastErr: bye}); endpoint != "mqtt://b:1883" {
		t.Errorf("connected to %s: %v; dialed %v", endpoint, err, f.dialed)
	}
}
