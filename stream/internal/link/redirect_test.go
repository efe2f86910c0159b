package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// moves returns a server that refers to another one.
func moves(code frames.ReasonCode, reference string) func(net.Conn) {
	return answer(connack(code, &frames.ConnackProperties{ServerReference: reference})...)
}

// accepts returns a server that accepts MQTT 5.
func accepts() func(net.Conn) { return answer(connack(frames.Success, nil)...) }

// plain is a policy that follows every reference without TLS.
func plain(_ context.Context, r Redirect) (string, error) { return "mqtt://" + r.Reference, nil }

// following makes a test dialer follow redirects with the given policy.
func following(policy func(context.Context, Redirect) (string, error)) func(*Config) {
	return func(c *Config) { version5(c); c.Redirect = policy }
}

// dialOnce dials, ends the connection if there is one, and returns its endpoint.
func dialOnce(t *testing.T, d *Dialer, r Request) (string, error) {
	t.Helper()
	c, err := d.Dial(t.Context(), r)
	if err != nil {
		return "", err
	}
	c.Abort()
	return c.Endpoint, nil
}

// V75: without a policy, the refusal is the error, and it has the Server Reference.
func TestWithoutAPolicyNoRedirectIsFollowed(t *testing.T) {
	for _, code := range []frames.ReasonCode{frames.UseAnotherServer, frames.ServerMoved} {
		f := &fakeNet{serve: moves(code, "b")}
		d := newTestDialer(t, f, version5, "mqtt://a")
		_, err := d.Dial(t.Context(), Request{Number: 1})
		var refused *ConnectError
		if !errors.As(err, &refused) || refused.ServerReference != "b" || !errors.Is(err, code) || len(f.dialed) != 1 {
			t.Errorf("%v; dialed %v", err, f.dialed)
		}
		if to, _ := d.referral(t.Context(), Request{Number: 1, LastErr: &DisconnectError{Code: code, ServerReference: "b"}}); to != nil {
			t.Errorf("a DISCONNECT leads to %v", to)
		}
	}
}

// V76: every form of reference reaches the policy as the broker has sent it, with the facts that a
// policy needs.
func TestThePolicyGetsTheReferenceAsItComes(t *testing.T) {
	for _, reference := range []string{"", "b", "b:1884", "[::1]:1884", "b c:1", "mqtt://u:p@b", "\x01\u202e garbage", strings.Repeat("x", 60_000)} {
		var got []Redirect
		f := &fakeNet{serve: moves(frames.ServerMoved, reference), servers: map[string]func(net.Conn){"next:1883": moves(frames.UseAnotherServer, reference)}}
		_, err := newTestDialer(t, f, following(func(_ context.Context, r Redirect) (string, error) {
			if got = append(got, r); len(got) == 2 {
				return "", errors.New("mqtt: no further")
			}
			return "mqtt://next", nil
		}), "mqtt://u:p@a").Dial(t.Context(), Request{Number: 1})
		want := []Redirect{{reference, "mqtt://a:1883", true, false, 1}, {reference, "mqtt://next:1883", false, false, 2}}
		if !slices.Equal(got, want) {
			t.Errorf("the policy got %.200v, want %.200v", got, want)
		}
		once(t, err, "next:1883: connection refused: use another server; the redirect is not followed: no further")
		if !errors.Is(err, frames.UseAnotherServer) {
			t.Errorf("the error does not wrap the refusal: %v", err)
		}
	}
}

// V76: a policy that waits gets a context that ends after ConnectTimeout.
func TestAPolicyThatWaitsEndsWithConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{serve: moves(frames.ServerMoved, "b")}
		began := time.Now()
		_, err := newTestDialer(t, f, func(c *Config) {
			following(func(ctx context.Context, _ Redirect) (string, error) { <-ctx.Done(); return "", ctx.Err() })(c)
			c.ConnectTimeout = time.Second
		}, "mqtt://a").Dial(t.Context(), Request{Number: 1})
		once(t, err, "server moved", "ConnectTimeout (1s)")
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// V76: a URL that cannot be used is an error, which does not show its password.
func TestAPolicyMustReturnAURL(t *testing.T) {
	for _, url := range []string{"", "b", "b:1884", "mqtt://", "mqtt://b:0", "mqtt://b:99999", "mqtt://u:hush@b c", "http://u:hush@b", "mqtt://u:hush@a,b", "mqtt://b/hush@"} {
		f := &fakeNet{serve: moves(frames.ServerMoved, "b")}
		_, err := newTestDialer(t, f, following(func(context.Context, Redirect) (string, error) { return url, nil }), "mqtt://a").Dial(t.Context(), Request{Number: 1})
		once(t, err, "server moved; the redirect is not followed: Redirect ")
		if strings.Contains(err.Error(), "hush") || len(f.dialed) != 1 {
			t.Errorf("%s: %v; dialed %v", url, err, f.dialed)
		}
	}
}

// V76: one attempt follows at most eight redirects and uses no endpoint twice, in whatever way its
// URL is written.
func TestAnAttemptFollowsAtMostEightRedirects(t *testing.T) {
	f := &fakeNet{servers: map[string]func(net.Conn){}}
	for i := range 20 {
		f.servers[fmt.Sprintf("h%d:1883", i)] = moves(frames.ServerMoved, fmt.Sprintf("h%d", i+1))
	}
	last := 0
	d := newTestDialer(t, f, following(func(ctx context.Context, r Redirect) (string, error) { last = r.Hop; return plain(ctx, r) }), "mqtt://h0")
	for range 2 { // the next attempt begins at the URL again
		f.dialed = nil
		_, err := d.Dial(t.Context(), Request{Number: 1})
		once(t, err, "mqtt://h8:1883: connection refused: server moved; the redirect is not followed: more than 8 redirects")
		if len(f.dialed) != 9 || f.dialed[0] != "h0:1883" || last != 8 {
			t.Errorf("dialed %v; the last hop is %d", f.dialed, last)
		}
	}
	f.servers["h8:1883"] = accepts()
	if endpoint, err := dialOnce(t, d, Request{Number: 1}); endpoint != "mqtt://h8:1883" {
		t.Errorf("after eight redirects: %s, %v", endpoint, err)
	}
}

func TestNoEndpointOfAChainIsUsedTwice(t *testing.T) {
	for name, c := range map[string]struct {
		urls   []string // of the brokers a and b
		dialed []string
		text   string
	}{
		"itself":         {[]string{"mqtt://a"}, []string{"a:1883"}, "it refers to mqtt://a:1883, which was tried"},
		"another scheme": {[]string{"tcp://A:1883"}, []string{"a:1883"}, "it refers to tcp://A:1883, which was tried"},
		"back":           {[]string{"mqtt://b", "mqtt://a"}, []string{"a:1883", "b:1883"}, "it refers to mqtt://a:1883, which was tried"},
		"a loop behind":  {[]string{"mqtt://b", "mqtt://c", "mqtt://b"}, []string{"a:1883", "b:1883", "c:1883"}, "it refers to mqtt://b:1883, which was tried"},
	} {
		f := &fakeNet{serve: moves(frames.UseAnotherServer, "x")}
		_, err := newTestDialer(t, f, following(func(_ context.Context, r Redirect) (string, error) { return c.urls[r.Hop-1], nil }), "mqtt://a").Dial(t.Context(), Request{Number: 1})
		once(t, err, c.text)
		if !slices.Equal(f.dialed, c.dialed) {
			t.Errorf("%s: dialed %v, want %v", name, f.dialed, c.dialed)
		}
	}
}

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

// V77: if the new endpoint fails, the attempt goes on at the URL, where it stays, and the error of a
// failed attempt names both.
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

// V76: a DISCONNECT that cannot be followed is logged, and the attempt begins at the URL.
func TestADISCONNECTThatCannotBeFollowedIsLogged(t *testing.T) {
	var log bytes.Buffer
	f := &fakeNet{serve: accepts()}
	d := newTestDialer(t, f, func(c *Config) {
		following(func(context.Context, Redirect) (string, error) { return "", errRefused })(c)
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	}, "mqtt://a")
	for range 2 { // the first time there was no connection yet
		bye := &DisconnectError{Code: frames.ServerMoved, ServerReference: "b"}
		if endpoint, err := dialOnce(t, d, Request{Number: 1, LastErr: bye}); endpoint != "mqtt://a:1883" {
			t.Error(endpoint, err)
		}
	}
	if strings.Count(log.String(), "level=WARN") != 1 || !strings.Contains(log.String(), "refused") {
		t.Errorf("the log is %s", log.String())
	}
}

// Only an answer of a broker is a redirect, not an error of the user that wraps an older one.
func TestAnErrorOfPrepareIsNoRedirect(t *testing.T) {
	f := &fakeNet{serve: moves(frames.ServerMoved, "b")}
	d := newTestDialer(t, f, func(c *Config) {
		following(plain)(c)
		c.Prepare = func(_ context.Context, a *Attempt) error { return a.LastErr }
	}, "mqtt://a")
	_, err := d.Dial(t.Context(), Request{Number: 1})
	once(t, err, "mqtt://b:1883: Prepare: connection refused: server moved")
	if strings.Contains(err.Error(), "redirect") || len(f.dialed) != 1 {
		t.Errorf("the error is %v; dialed %v", err, f.dialed)
	}
}

// V78: the user name and the password of the Options are for the broker in the URL. Another one gets
// those that the policy returns.
func TestAReferredBrokerGetsTheCredentialsOfThePolicy(t *testing.T) {
	for name, c := range map[string]struct{ url, own, to, user, password string }{
		"of the Options":        {"mqtt://a", "ann", "mqtt://b", "", ""},
		"of the URL":            {"mqtt://ann:hush@a", "", "mqtt://b", "", ""},
		"of the policy":         {"mqtt://ann:hush@a", "", "mqtt://bob:word@b", "bob", "word"},
		"of policy and Options": {"mqtt://a", "ann", "mqtt://bob:word@b", "bob", "word"},
	} {
		for _, prepare := range []func(context.Context, *Attempt) error{nil, func(context.Context, *Attempt) error { return nil }} {
			var got *frames.Connect
			f := &fakeNet{serve: moves(frames.UseAnotherServer, "b"), servers: map[string]func(net.Conn){
				"b:1883": each(t, func(p *frames.Connect) []byte { got = p; return connack(frames.Success, nil) })}}
			d := newTestDialer(t, f, func(o *Config) {
				following(func(context.Context, Redirect) (string, error) { return c.to, nil })(o)
				if o.Prepare = prepare; c.own != "" {
					o.Connect.UserName, o.Connect.Password = c.own, []byte("hush")
				}
			}, c.url)
			if _, err := dialOnce(t, d, Request{Number: 1}); err != nil {
				t.Fatal(err)
			}
			if got.UserName != c.user || string(got.Password) != c.password || got.UserNameFlag != (c.user != "") {
				t.Errorf("%s: the new broker got %q, %q", name, got.UserName, got.Password)
			}
		}
	}
}

// overTLS returns a server that does the TLS handshake and leaves the rest to serve.
func overTLS(config *tls.Config, serve func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		if s := tls.Server(c, config); s.Handshake() == nil {
			serve(s)
		}
	}
}

// exampleTLS returns configurations of a server that is example.com, and of a client that trusts it.
func exampleTLS(t *testing.T) (server, client *tls.Config) {
	s := httptest.NewTLSServer(nil)
	s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}, s.Client().Transport.(*http.Transport).TLSClientConfig
}

// V78: a redirect from a broker with TLS leads to a broker whose certificate has the name of the new
// host, whatever ServerName the Options have, and never to a scheme without TLS.
func TestARedirectKeepsTLS(t *testing.T) {
	server, client := exampleTLS(t)
	asIs := func(context.Context, *Attempt) error { return nil }
	for name, c := range map[string]struct {
		to      string
		prepare func(context.Context, *Attempt) error
		text    string // "" if the redirect is followed
	}{
		"its name":              {"mqtts://example.com", nil, ""},
		"its name, Prepare":     {"mqtts://example.com", asIs, ""},
		"another name":          {"mqtts://other", nil, "mqtts://other:8883: TLS: "},
		"another name, Prepare": {"mqtts://other", asIs, "mqtts://other:8883: TLS: "},
		"a name chosen by Prepare": {"mqtts://other", func(_ context.Context, a *Attempt) error {
			if a.Endpoint == "mqtts://other:8883" {
				a.TLS.ServerName = "example.com"
			}
			return nil
		}, ""},
		"without TLS":           {"mqtt://example.com", nil, "Redirect leads from a scheme with TLS to mqtt, which has none"},
		"WebSocket without TLS": {"ws://example.com", nil, "Redirect leads from a scheme with TLS to ws, which has none"},
		"a socket":              {"unix:///run/broker", nil, "Redirect leads from a scheme with TLS to unix, which has none"},
	} {
		f := &fakeNet{serve: overTLS(server, accepts()), servers: map[string]func(net.Conn){"a:8883": overTLS(server, moves(frames.ServerMoved, "b"))}}
		d := newTestDialer(t, f, func(o *Config) {
			following(func(_ context.Context, r Redirect) (string, error) {
				if !r.Secure {
					t.Errorf("%s: %+v", name, r)
				}
				return c.to, nil
			})(o)
			o.TLS, o.Prepare = client.Clone(), c.prepare
			o.TLS.ServerName = "example.com" // the name of the broker at a
		}, "mqtts://a")
		_, err := dialOnce(t, d, Request{Number: 1})
		if c.text == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if c.text != "" {
			once(t, err, c.text)
		}
		if d.config.TLS.ServerName != "example.com" {
			t.Errorf("%s: the configuration of the user has changed", name)
		}
	}
}

// V78: TLS holds for a chain, and for a DISCONNECT.
func TestNoRedirectOfAChainLeavesTLS(t *testing.T) {
	server, client := exampleTLS(t)
	f := &fakeNet{serve: overTLS(server, moves(frames.ServerMoved, "x")), servers: map[string]func(net.Conn){"c:1883": accepts()}}
	d := newTestDialer(t, f, func(o *Config) {
		following(func(_ context.Context, r Redirect) (string, error) {
			return []string{"mqtts://example.com", "mqtt://c"}[r.Hop-1], nil
		})(o)
		o.TLS = client.Clone()
		o.TLS.ServerName = "example.com"
	}, "mqtts://a")
	_, err := dialOnce(t, d, Request{Number: 1})
	once(t, err, "leads from a scheme with TLS to mqtt")
	f.serve = overTLS(server, accepts())
	if _, err := dialOnce(t, d, Request{Number: 1}); err != nil {
		t.Fatal(err)
	}
	d.config.Redirect = plain
	f.dialed = nil
	bye := &DisconnectError{Code: frames.ServerMoved, ServerReference: "c"}
	if endpoint, err := dialOnce(t, d, Request{Number: 1, LastErr: bye}); endpoint != "mqtts://a:8883" || len(f.dialed) != 1 {
		t.Errorf("connected to %s: %v; dialed %v", endpoint, err, f.dialed)
	}
}
