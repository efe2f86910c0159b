package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/stream"
)

// secrets lists the strings that must not appear in an error or a log.
var secrets = struct{ user, password, token, header string }{"secret-user", "secret-password", "secret-token", "secret-header"}

// A failure describes a connection attempt that must fail.
type failure struct {
	name   string
	url    string
	change func(*mqtt.Options)
	want   func(error) bool
}

// L and W: the wrapped error gives the reason. Neither the error nor the log contains a secret.
func TestConnectErrorsNameTheCauseWithoutSecrets(t *testing.T) {
	t.Parallel()
	other := selfSigned(t)
	for _, k := range allKinds(t) {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b := k.start(t, everything())
			for _, f := range b.failures(other) {
				t.Run(f.name, func(t *testing.T) {
					t.Parallel()
					log, err := f.attempt(t)
					if err == nil || !f.want(err) {
						t.Errorf("got %v (%#v)", err, err)
					}
					for _, text := range []string{fmt.Sprintf("%v %+v %q", err, err, err), log} {
						for _, secret := range []string{secrets.user, secrets.password, secrets.token, secrets.header} {
							if strings.Contains(text, secret) {
								t.Errorf("%s is in %s", secret, text)
							}
						}
					}
				})
			}
		})
	}
}

// failures returns the failures that the listeners of the broker can cause.
func (b *broker) failures(other *certificate) (all []failure) {
	all = append(all, failure{"TCP/wrong password", b.url, nil, refusedAs})
	secure := func(name, url string) {
		all = append(all,
			failure{name + "/unknown CA", url, func(o *mqtt.Options) { o.TLS.RootCAs = other.roots }, isError[x509.UnknownAuthorityError]},
			failure{name + "/other host", url, func(o *mqtt.Options) { o.TLS.ServerName = "elsewhere" }, isError[x509.HostnameError]},
		)
	}
	if b.tlsURL != "" {
		secure("TLS", b.tlsURL)
		all = append(all,
			failure{"TLS/wrong password", b.tlsURL, nil, refusedAs},
			failure{"TLS/plain to it", "mqtt" + strings.TrimPrefix(b.tlsURL, "mqtts"), nil, isAny},
			failure{"TLS/to plain", "mqtts" + strings.TrimPrefix(b.url, "mqtt"), nil, isAny},
		)
	}
	if b.mutualURL != "" {
		secure("client certificate", b.mutualURL)
		all = append(all,
			failure{"client certificate/missing", b.mutualURL, nil, isRemote},
			failure{"client certificate/of another", b.mutualURL, func(o *mqtt.Options) { o.TLS.Certificates = []tls.Certificate{other.tls} }, isRemote},
		)
	}
	if b.wssURL != "" {
		secure("wss", b.wssURL)
		all = append(all,
			failure{"wss/plain to it", "ws" + strings.TrimPrefix(b.wssURL, "wss"), nil, isAny},
			failure{"wss/to plain", "wss" + strings.TrimPrefix(b.wsURL, "ws"), nil, isAny},
		)
	}
	for _, w := range []route{{"ws", b.wsURL}, {"wss", b.wssURL}} {
		if w.url == "" {
			continue
		}
		all = append(all, failure{w.name + "/wrong password", w.url, nil, isAny})
		nowhere := strings.TrimSuffix(strings.TrimSuffix(w.url, "/mqtt"), "/ws") + "/nowhere"
		switch b.name {
		case "mosquitto": // mosquitto accepts any path
		case "NATS": // NATS speaks another protocol at all other paths
			all = append(all, failure{w.name + "/other path", nowhere, nil, func(err error) bool {
				return strings.Contains(err.Error(), "selected no subprotocol")
			}})
		default:
			want := http.StatusNotFound
			if b.name == "aedes" {
				want = http.StatusBadRequest
			}
			all = append(all, failure{w.name + "/other path", nowhere, nil, func(err error) bool {
				var status *stream.HTTPError
				return errors.As(err, &status) && status.Status == want
			}})
		}
	}
	return all
}

func isAny(error) bool { return true }

func isError[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// isRemote reports whether the other side caused err. With TLS 1.3, the server rejects a client's
// certificate after the client has completed its half of the handshake.
func isRemote(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// attempt tries to connect and returns the log and the error.
func (f *failure) attempt(t *testing.T) (log string, _ error) {
	t.Helper()
	u, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(secrets.user, secrets.password)
	var text bytes.Buffer
	o := &mqtt.Options{
		ClientID:       "thief",
		ConnectTimeout: 5 * time.Second,
		Logger:         slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	switch u.Scheme {
	case "ws", "wss":
		u.RawQuery = "token=" + secrets.token
		o.Prepare = headers(func(context.Context) (http.Header, error) {
			return http.Header{"Authorization": {secrets.header}}, nil
		})
	}
	switch u.Scheme {
	case "mqtts", "wss":
		o.TLS = &tls.Config{RootCAs: everything().cert.roots}
	}
	if f.change != nil {
		f.change(o)
	}
	c, err := mqtt.Dial(within(t), u.String(), o)
	if err == nil {
		c.Close()
	}
	return text.String(), err
}
