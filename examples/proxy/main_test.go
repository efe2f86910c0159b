package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// kinds maps the scheme of a proxy URL to the handshake of that kind of proxy.
var kinds = map[string]func(*bufio.ReadWriter) (string, error){"socks5": socks5, "http": httpConnect}

func startBroker(t *testing.T) *demo.Broker {
	t.Helper()
	b, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestTheExampleReachesItsBrokerThroughEachProxy(t *testing.T) {
	for scheme, handshake := range kinds {
		t.Run(scheme, func(t *testing.T) {
			b, p := startBroker(t), startProxy(t, handshake)
			program := exampletest.Start(t, "-broker", b.URL, "-via", scheme+"://"+user+":"+password+"@"+p.addr)
			program.Expect(`^received  echo: hello$`)
			if got := p.tunnels(); len(got) != 1 || "mqtt://"+got[0] != b.URL {
				t.Errorf("tunnels to %q, want one to %s", got, b.URL)
			}
		})
	}
}

func TestTheProxyOfTheEnvironmentIsUsed(t *testing.T) {
	b, p := startBroker(t), startProxy(t, socks5)
	t.Setenv("ALL_PROXY", "socks5://"+user+":"+password+"@"+p.addr)
	t.Setenv("NO_PROXY", "")
	exampletest.Start(t, "-broker", b.URL).Expect(`^received  echo: hello$`)
	if len(p.tunnels()) != 1 {
		t.Error("there was no tunnel")
	}
}

// U46: a proxy that is not understood is an error. The program does not connect past it.
func TestAProxyThatIsNotUnderstoodIsAnError(t *testing.T) {
	for _, address := range []string{"gopher://" + user + ":chaff@proxy:1080", "proxy:1080", "proxy", "socks5://%zz:chaff@proxy", "socks5://"} {
		for name, given := range map[string]func() (dialer, error){
			"-via": func() (dialer, error) { return through(address) },
			"ALL_PROXY": func() (dialer, error) {
				t.Setenv("ALL_PROXY", address)
				return through("")
			},
		} {
			if _, err := given(); err == nil || strings.Contains(err.Error(), "chaff") || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %s: %v", name, address, err)
			}
		}
	}
}

func TestAProxyThatRefusesIsAnErrorWithoutThePassword(t *testing.T) {
	for scheme, handshake := range kinds {
		t.Run(scheme, func(t *testing.T) {
			b, p := startBroker(t), startProxy(t, handshake)
			dial, err := through(scheme + "://" + user + ":chaff@" + p.addr)
			if err != nil {
				t.Fatal(err)
			}
			c, err := mqtt.Dial(t.Context(), b.URL, &mqtt.Options{DialContext: dial})
			if err == nil {
				c.Close()
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "chaff") || !strings.Contains(err.Error(), p.addr) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Connections with TLS and WebSocket go through the tunnel of the proxy too.
func TestEveryTransportGoesThroughEachProxy(t *testing.T) {
	b := startBroker(t)
	behind := strings.TrimPrefix(b.URL, "mqtt://")
	secured, roots := startTLS(t, behind)
	for name, url := range map[string]string{"mqtt": b.URL, "mqtts": secured, "ws": startWebSocket(t, behind)} {
		for scheme, handshake := range kinds {
			t.Run(name+" through "+scheme, func(t *testing.T) {
				p := startProxy(t, handshake)
				dial, err := through(scheme + "://" + user + ":" + password + "@" + p.addr)
				if err != nil {
					t.Fatal(err)
				}
				o := &mqtt.Options{DialContext: dial}
				if name == "mqtts" {
					o.TLS = &tls.Config{RootCAs: roots}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				c, err := mqtt.Dial(ctx, url, o)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if err := c.Publish(ctx, mqtt.Message{Topic: "a", Payload: make([]byte, 100_000), QoS: mqtt.ExactlyOnce}); err != nil {
					t.Error(err)
				}
				if got := p.tunnels(); len(got) != 1 || !strings.Contains(url, got[0]) {
					t.Errorf("tunnels to %q, want one to %s", got, url)
				}
			})
		}
	}
}

// startTLS starts a TLS server that relays to a broker.
func startTLS(t *testing.T, broker string) (url string, roots *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil) // only its certificate is used
	s.StartTLS()
	defer s.Close()
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	config := &tls.Config{Certificates: s.TLS.Certificates}
	return "mqtts://" + serve(t, func(conn net.Conn) { relay(tls.Server(conn, config), broker) }), roots
}

// startWebSocket starts a WebSocket server that relays to a broker.
func startWebSocket(t *testing.T, broker string) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mqtt"}})
		if err != nil {
			return
		}
		c.SetReadLimit(-1)
		relay(websocket.NetConn(context.Background(), c, websocket.MessageBinary), broker)
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}
