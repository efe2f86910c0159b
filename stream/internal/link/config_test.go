package link

import (
	"bytes"
	"crypto/tls"
	"errors"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

func parsed(t *testing.T, url string) *Endpoint {
	t.Helper()
	e, err := ParseEndpoints(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e[0]
}

// The Config comes before the URL. An empty password without user name is none (U44).
func TestLoginPrecedence(t *testing.T) {
	config := Config{Connect: frames.Connect{Version: frames.V311, CleanSession: true}}
	login := func(c Config, url string) (string, string) {
		a := c.attempt(parsed(t, url))
		hello, err := c.hello(&a)
		if err != nil {
			t.Fatal(err)
		}
		f, err := frames.ReadFrame(frames.NewReader(bytes.NewReader(hello), 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		p, err := frames.ParseConnect(f)
		if err != nil {
			t.Fatal(err)
		}
		return p.UserName, string(p.Password)
	}
	const url = "mqtt://ann:pw@a"
	if user, password := login(config, url); user != "ann" || password != "pw" {
		t.Errorf("of the URL: %s, %s", user, password)
	}
	config.Connect.UserName, config.Connect.Password = "bob", []byte("word")
	if user, password := login(config, url); user != "bob" || password != "word" {
		t.Errorf("of the Config: %s, %s", user, password)
	}
	config.Connect.UserName, config.Connect.Password = "", []byte{}
	if user, password := login(config, url); user != "ann" || password != "pw" {
		t.Errorf("with an empty password: %s, %s", user, password)
	}
	if user, password := login(config, "mqtt://:@a"); user != "" || password != "" {
		t.Errorf("with neither: %s, %s", user, password)
	}
}

func TestTLSConfigIsCompleted(t *testing.T) {
	users := &tls.Config{MinVersion: tls.VersionTLS10}
	for url, want := range map[string]struct {
		name   string
		protos []string
	}{
		"mqtts://broker":    {"broker", nil}, // U39: no protocol is negotiated
		"wss://broker/mqtt": {"broker", []string{"http/1.1"}},
	} {
		got := tlsConfig(parsed(t, url), users)
		if got.ServerName != want.name || !slices.Equal(got.NextProtos, want.protos) || got.MinVersion != tls.VersionTLS12 {
			t.Errorf("%s: %s, %v, %x", url, got.ServerName, got.NextProtos, got.MinVersion)
		}
	}
	if users.ServerName != "" || users.NextProtos != nil || users.MinVersion != tls.VersionTLS10 {
		t.Error("the user's configuration was changed")
	}
	if got := tlsConfig(parsed(t, "mqtt://a"), nil); got != nil {
		t.Errorf("without TLS: %v", got)
	}
}

func TestEachEndpointIsValidatedWithItsLogin(t *testing.T) {
	c := Config{Connect: frames.Connect{Version: frames.V311, CleanSession: true}}
	endpoints, err := ParseEndpoints("mqtt://a", []string{"mqtt://:pw@b"}) // a password without a user name
	if err != nil {
		t.Fatal(err)
	}
	var invalid *frames.InvalidError
	if err := c.Validate(endpoints); !errors.As(err, &invalid) {
		t.Errorf("the error is %v", err)
	}
	if err := c.Validate(endpoints[:1]); err != nil {
		t.Error(err)
	}
}
