package link

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// V78: the user name and the password of the Options are for the broker in the URL. Another one
// gets those that the policy returns.
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

// exampleTLS returns configurations of a server that is example.com, and of a client that trusts
// it.
func exampleTLS(t *testing.T) (server, client *tls.Config) {
	s := httptest.NewTLSServer(nil)
	s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}, s.Client().Transport.(*http.Transport).TLSClientConfig
}

// V78: a redirect from a broker with TLS leads to a broker whose certificate has the name of the
// new host, whatever ServerName the Options have, and never to a scheme without TLS.
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
