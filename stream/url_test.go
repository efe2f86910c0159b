package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestURLForms(t *testing.T) {
	for _, row := range []struct {
		url           string
		network, addr string
		tls           bool
		shown         string // State.Endpoint
	}{
		{"mqtt://broker", "tcp", "broker:1883", false, "mqtt://broker:1883"},
		{"tcp://broker", "tcp", "broker:1883", false, "tcp://broker:1883"},
		{"mqtts://broker", "tcp", "broker:8883", true, "mqtts://broker:8883"},
		{"ssl://broker", "tcp", "broker:8883", true, "ssl://broker:8883"},
		{"tls://broker", "tcp", "broker:8883", true, "tls://broker:8883"},
		{"mqtt://broker:4242", "tcp", "broker:4242", false, "mqtt://broker:4242"},
		{"mqtts://broker:4242", "tcp", "broker:4242", true, "mqtts://broker:4242"},
		{"mqtt://broker:", "tcp", "broker:1883", false, "mqtt://broker:1883"},
		{"mqtt://broker/", "tcp", "broker:1883", false, "mqtt://broker:1883"},
		{"mqtts://broker:65535/", "tcp", "broker:65535", true, "mqtts://broker:65535"},
		{"MQTT://broker", "tcp", "broker:1883", false, "mqtt://broker:1883"},
		{"mqtt://127.0.0.1", "tcp", "127.0.0.1:1883", false, "mqtt://127.0.0.1:1883"},
		{"mqtt://[::1]", "tcp", "[::1]:1883", false, "mqtt://[::1]:1883"},
		{"mqtt://[::1]:4242", "tcp", "[::1]:4242", false, "mqtt://[::1]:4242"},
		{"mqtt://[fe80::1%25eth0]:4242", "tcp", "[fe80::1%eth0]:4242", false, "mqtt://[fe80::1%eth0]:4242"},
		{"mqtt://user@broker", "tcp", "broker:1883", false, "mqtt://broker:1883"},
		{"mqtt://user:password@broker:4242", "tcp", "broker:4242", false, "mqtt://broker:4242"},
		{"unix:///run/broker.sock", "unix", "/run/broker.sock", false, "unix:///run/broker.sock"},
		{"unix:/run/broker.sock", "unix", "/run/broker.sock", false, "unix:///run/broker.sock"},
		{"unix:///run/with%20space", "unix", "/run/with space", false, "unix:///run/with space"},
		{"unix://user:password@/run/broker.sock", "unix", "/run/broker.sock", false, "unix:///run/broker.sock"},
	} {
		t.Run(row.url, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, err := stream.Open(row.url, with(b, nil))
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				c := b.Accept()
				if network, addr := c.Dialed(); network != row.network || addr != row.addr {
					t.Errorf("dialed %s %s, want %s %s", network, addr, row.network, row.addr)
				}
				var first [1]byte
				if _, err := io.ReadFull(c.Raw(), first[:]); err != nil || (first[0] == 0x16) != row.tls || (first[0] == 0x10) == row.tls {
					t.Errorf("the first byte is %#x, %v", first, err)
				}
				if st := <-s.States(t.Context()); st.Endpoint != row.shown {
					t.Errorf("shown as %q, want %q", st.Endpoint, row.shown)
				}
			})
		})
	}
}

func TestUserInfoOfTheURLIsForConnect(t *testing.T) {
	for _, row := range []struct {
		url  string
		o    stream.Options
		want frames.Connect
	}{
		{"mqtt://alice@broker", stream.Options{},
			frames.Connect{UserNameFlag: true, UserName: "alice"}},
		{"mqtt://alice:hunter2@broker", stream.Options{},
			frames.Connect{UserNameFlag: true, UserName: "alice", PasswordFlag: true, Password: []byte("hunter2")}},
		{"mqtt://alice:@broker", stream.Options{},
			frames.Connect{UserNameFlag: true, UserName: "alice", PasswordFlag: true}},
		{"mqtt://al%3Aice:hunter%2F%402@broker", stream.Options{},
			frames.Connect{UserNameFlag: true, UserName: "al:ice", PasswordFlag: true, Password: []byte("hunter/@2")}},
		{"unix://alice:hunter2@/run/sock", stream.Options{},
			frames.Connect{UserNameFlag: true, UserName: "alice", PasswordFlag: true, Password: []byte("hunter2")}},
		{"mqtt://alice:hunter2@broker", stream.Options{Username: "bob"},
			frames.Connect{UserNameFlag: true, UserName: "bob"}},
		{"mqtt://alice:hunter2@broker", stream.Options{Username: "bob", Password: []byte("pw")},
			frames.Connect{UserNameFlag: true, UserName: "bob", PasswordFlag: true, Password: []byte("pw")}},
	} {
		t.Run(row.url+" with "+row.o.Username, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, err := stream.Open(row.url, with(b, &row.o))
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				got := b.Accept().ExpectConnect()
				if got.UserNameFlag != row.want.UserNameFlag || got.UserName != row.want.UserName ||
					got.PasswordFlag != row.want.PasswordFlag || string(got.Password) != string(row.want.Password) {
					t.Errorf("CONNECT %+v, want %+v", got, row.want)
				}
			})
		})
	}
}

// Secrets that must not occur in an error or another text.
const (
	secretUser     = "alice-of-the-mill"
	secretPassword = "hunter2"
)

func TestBadURLsAreNamedWithoutTheirSecrets(t *testing.T) {
	const who = secretUser + ":" + secretPassword + "@"
	for _, row := range []struct{ url, want string }{
		{"", "has no scheme"},
		{"broker", "has no scheme"},
		{"//" + who + "broker", "has no scheme"},
		{"/" + who + "broker", "has no scheme"},
		{who + "broker", "has no scheme"},
		{who + "broker:1883", "has no scheme"},
		{"broker:1883", "has no scheme"},
		{"mqtt:broker", "has no host"},
		{"mqtt:" + who + "broker", "has no host"},
		{"mqtt://", "has no host"},
		{"mqtt://:1883", "has no host"},
		{"mqtt://" + who, "has no host"},
		{"mqtt:///" + who + "broker", "@ in its path"},
		{"http://" + who + "broker", `scheme "http"`},
		{"wsss://" + who + "broker", `scheme "wsss"`},
		{"mqtt5://" + who + "broker", `scheme "mqtt5"`},
		{"mqtt://" + who + "broker/topic", "path"},
		{"mqtt://" + who + "broker?q=" + secretPassword, "query"},
		{"mqtt://" + who + "broker#" + secretPassword, "fragment"},
		{"mqtt://" + who + "broker:port", "cannot be parsed"},
		{"mqtt://" + who + "broker:99999999999", "port"},
		{"mqtt://" + who + "broker:65536", "port"},
		{"mqtt://" + who + "broker:0", "port"},
		{"mqtt://" + who + "bro ker", "cannot be parsed"},
		{"mqtt://" + who + "bro\x00ker", "cannot be parsed"},
		{"mqtt://" + who + "[::1", "cannot be parsed"},
		{"mqtt://" + who + "%zz", "cannot be parsed"},
		{"mqtt://" + secretUser + ":" + secretPassword + "%zz@broker", "cannot be parsed"},
		{"mqtt://" + secretUser + ":" + secretPassword + "/@broker", "@ in its path"},
		{"mqtt://" + secretUser + ":4242/" + secretPassword + "@broker", "path"},
		{"mqtt://" + secretUser + ":4242#" + secretPassword + "@broker", "fragment"},
		{"mqtt://" + secretUser + ":4242?" + secretPassword + "@broker", "query"},
		{" mqtt://" + who + "broker", "cannot be parsed"},
		{"unix://", "unix:///path"},
		{"unix:///run/sock?" + secretPassword, "unix:///path"},
		{"unix:///run/sock#" + secretPassword, "unix:///path"},
		{"unix://" + who + "host/run/sock", "unix:///path"},
		{"unix:run/sock/" + secretPassword, "unix:///path"},
		{"mqtt://:" + secretPassword + "@broker", "user name"},
		{"mqtt://" + secretUser + "%00:" + secretPassword + "@broker", "user name"},
		{"mqtt://" + secretUser + "%FF:" + secretPassword + "@broker", "user name"},
		{"mqtt://" + secretUser + strings.Repeat("x", 65536) + ":" + secretPassword + "@broker", "user name"},
		{"mqtt://" + secretUser + ":" + secretPassword + strings.Repeat("x", 65536) + "@broker", "password"},
	} {
		t.Run(fmt.Sprintf("%.60q", row.url), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				var records record
				o := with(b, &stream.Options{Version: frames.V311, Logger: slog.New(slog.NewTextHandler(&records, &slog.HandlerOptions{Level: slog.LevelDebug}))})
				for _, start := range []func() (*stream.Session, error){
					func() (*stream.Session, error) { return stream.Open(row.url, o) },
					func() (*stream.Session, error) { return stream.Dial(aMinute(t), row.url, o) },
				} {
					s, err := start()
					if s != nil || err == nil {
						s.Close()
						t.Fatal("the URL opened a session")
					}
					var option *stream.OptionError
					var invalid *frames.InvalidError
					if !errors.As(err, &option) && !errors.As(err, &invalid) {
						t.Errorf("an error of type %T", err)
					}
					if option != nil && option.Field != "URL" {
						t.Errorf("field %q", option.Field)
					}
					wantText(t, err, row.want)
					wantHidden(t, fmt.Sprintf("%v %+v %#v", err, err, err), secretUser, secretPassword)
					var parse *url.Error
					if errors.As(err, &parse) {
						t.Errorf("the error unwraps to %v, which holds the URL", parse)
					}
				}
				wantHidden(t, records.String(), secretUser, secretPassword)
				if d := b.Dials(); len(d) > 0 {
					t.Errorf("dialed: %v", d)
				}
			})
		})
	}
}

// User and password of a valid URL do not occur in errors either.
func TestUserInfoIsNeverShown(t *testing.T) {
	const broker = "mqtt://" + secretUser + ":" + secretPassword + "@broker"
	never := func(*streamtest.Broker) {}
	for name, row := range map[string]struct{ plan, fail func(b *streamtest.Broker) }{
		"refused dial": {func(b *streamtest.Broker) { b.Refuse(1, nil) }, never},
		"dial in vain": {func(b *streamtest.Broker) { b.Hold(1) }, never},
		"EOF":          {never, func(b *streamtest.Broker) { c := b.Accept(); c.ExpectConnect(); c.Drop() }},
		"reset":        {never, func(b *streamtest.Broker) { c := b.Accept(); c.ExpectConnect(); c.Abort() }},
		"silence":      {never, func(b *streamtest.Broker) { b.Accept().ExpectConnect() }},
		"bad password": {never, func(b *streamtest.Broker) {
			c := b.Accept()
			c.ExpectConnect()
			c.Connack(false, frames.BadUserNameOrPassword)
		}},
		"another first": {never, func(b *streamtest.Broker) { c := b.Accept(); c.ExpectConnect(); c.SendBytes([]byte("HTTP/1.1 400")) }},
		"violation": {never, func(b *streamtest.Broker) {
			c := b.Handshake(false)
			c.Connack(false, 0)
			c.ExpectClosed()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				var records record
				o := with(b, faultOptions(frames.V311))
				o.Logger = slog.New(slog.NewTextHandler(&records, &slog.HandlerOptions{Level: slog.LevelDebug}))
				row.plan(b)
				s, err := stream.Open(broker, o)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				row.fail(b)
				st := offline(t, s)
				wantHidden(t, fmt.Sprintf("%+v %#v", st, st.Err), secretUser, secretPassword)
				if st.Endpoint != "mqtt://broker:1883" {
					t.Errorf("endpoint %q", st.Endpoint)
				}
				b.Handshake(false)
				up(t, s)
				wantHidden(t, fmt.Sprintf("%+v", <-s.States(t.Context())), secretUser, secretPassword)
				s.Close()
				wantHidden(t, fmt.Sprintf("%+v", <-s.States(context.Background())), secretUser, secretPassword)
				wantHidden(t, records.String(), secretUser, secretPassword)
				wantText(t, errors.New(records.String()), "mqtt://broker:1883")
			})
		})
	}
	t.Run("Dial", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			dialed := goDial(t.Context(), t, b, broker, nil)
			c := b.Accept()
			c.ExpectConnect()
			c.Connack(false, frames.BadUserNameOrPassword)
			err := outcome(t, dialed)
			wantHidden(t, fmt.Sprintf("%v %#v", err, err), secretUser, secretPassword)
		})
	})
}
