package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
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
