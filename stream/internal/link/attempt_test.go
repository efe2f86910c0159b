package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// U40: Prepare is asked before each dial and may change it.
func TestPrepareIsAskedBeforeEachDial(t *testing.T) {
	var seen []string
	f := &fakeNet{refused: map[string]error{"a:1883": errRefused}, serve: answer(accept()...)}
	d := newTestDialer(t, f, func(c *Config) {
		c.Prepare = func(_ context.Context, a *Attempt) error {
			seen = append(seen, a.Endpoint)
			if a.Number != 3 || len(seen) == 2 && !errors.Is(a.LastErr, errRefused) {
				t.Errorf("%+v", a)
			}
			a.URL.Host = strings.Replace(a.URL.Host, "b", "c", 1)
			a.Will = &frames.Message{Topic: "will"}
			return nil
		}
	}, "mqtt://a", "mqtt://b")
	c, err := d.Dial(t.Context(), Request{Number: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	if want := []string{"mqtt://a:1883", "mqtt://b:1883"}; !slices.Equal(seen, want) {
		t.Errorf("asked for %v, want %v", seen, want)
	}
	if want := []string{"a:1883", "c:1883"}; !slices.Equal(f.dialed, want) || c.Endpoint != "mqtt://c:1883" {
		t.Errorf("dialed %v, want %v; connected to %s", f.dialed, want, c.Endpoint)
	}
}

// The result of Prepare is checked before anything is dialed. The error names the field, without
// the secret.
func TestTheResultOfPrepareIsChecked(t *testing.T) {
	for field, change := range map[string]func(*Attempt){
		"URL is nil":         func(a *Attempt) { a.URL = nil },
		"another scheme":     func(a *Attempt) { a.URL.Scheme = "wss" },
		"URL has a user":     func(a *Attempt) { a.URL.User = url.UserPassword("u", "hush") },
		"URL has no host":    func(a *Attempt) { a.URL.Host = "" },
		"URL has a port":     func(a *Attempt) { a.URL.Host = "a:0" },
		"host":               func(a *Attempt) { a.URL.Host = "hush@a" },
		"brackets":           func(a *Attempt) { a.URL.Host = "::1" },
		"TLS":                func(a *Attempt) { a.TLS = new(tls.Config) },
		"Header has the":     func(a *Attempt) { a.Header.Set("a b", "hush") },
		"Header has a":       func(a *Attempt) { a.Header.Set("A", "hush\n") },
		"Header has Upgrade": func(a *Attempt) { a.Header = http.Header{"Upgrade": {"hush"}} },
		"user name":          func(a *Attempt) { a.Username = "hush\x00" },
		"password":           func(a *Attempt) { a.Password = []byte("hush") },
		"will topic":         func(a *Attempt) { a.Will = &frames.Message{Topic: "#"} },
	} {
		f := &fakeNet{}
		d := newTestDialer(t, f, func(c *Config) {
			c.Prepare = func(_ context.Context, a *Attempt) error { change(a); return nil }
		}, "ws://a/mqtt?token=hush")
		_, err := d.Dial(t.Context(), Request{Number: 1})
		if err == nil || !strings.HasPrefix(err.Error(), "mqtt: Prepare: ") || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", field, err)
		}
		if len(f.dialed) > 0 {
			t.Errorf("%s: dialed %v", field, f.dialed)
		}
	}
}

func TestADialThatReturnsNothingIsAnError(t *testing.T) {
	d := newTestDialer(t, &fakeNet{}, func(c *Config) {
		c.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	}, "mqtt://a")
	if _, err := d.Dial(t.Context(), Request{Number: 1}); !errors.Is(err, errNoConn) {
		t.Errorf("the error is %v", err)
	}
}

// U41: status 401 or 403 counts as refused credentials, and the error quotes the answer without the
// secrets of the request.
func TestARefusedUpgradeQuotesTheAnswer(t *testing.T) {
	f := &fakeNet{serve: func(c net.Conn) {
		c.Read(make([]byte, 4096))
		c.Write([]byte("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n{\"message\":\"hush-hush expired\"}"))
		c.Close()
	}}
	_, err := newTestDialer(t, f, nil, "ws://a/mqtt?token=hush-hush").Dial(t.Context(), Request{Number: 1})
	if want := `mqtt: WebSocket: the server answered 403 Forbidden: "{\"message\":\"[hidden] expired\"}"`; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
	if !Useless(err) || Useless(&HTTPError{Status: 503}) {
		t.Error("only 401 and 403 reject credentials")
	}
	if got := quotable(strings.Repeat("x", 600), nil); len(got) != 512 {
		t.Errorf("%d bytes are quoted", len(got))
	}
	if got := quotable("see hush-hu", []string{"hush-hush"}); got != "see [hidden]" {
		t.Errorf("the beginning of a secret is quoted: %s", got)
	}
}
