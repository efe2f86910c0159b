package integration

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/go-millrace/mqtt"
)

// A broker is one that a test has to itself. It ends with the test.
type broker struct {
	name    string
	version string
	url     string // of its listener for TCP

	// With the setup.
	tlsURL, mutualURL, wsURL, wssURL, unixURL string

	process *mosquitto // nil: it runs in the test process
}

// inOrder says that what waited for an absent session comes in order. mochi sends
// it in that of a map.
func (b *broker) inOrder() bool { return b.process != nil }

// setup is what a broker has beside a TCP listener for everybody.
type setup struct {
	// cert, unix and webSocket add listeners for TLS, on a unix socket and for
	// WebSockets, with cert over TLS too; clients adds one for TLS that demands a
	// client certificate, and only this one is right.
	cert      *certificate
	clients   *certificate
	unix      bool
	webSocket bool

	// user and password, if set, are needed to connect.
	user, password string

	// deny is a topic filter that nobody may subscribe to; mochi alone has it.
	deny string

	// persistent has mosquitto keep its sessions in a file when it is terminated.
	persistent bool
}

// A certificate is one that has signed itself.
type certificate struct {
	tls       tls.Certificate
	cert, key []byte // PEM
	roots     *x509.CertPool
}

// server is the configuration of a server with this certificate.
func (c *certificate) server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.tls}}
}

// serverFor is that of one that demands clients' certificate.
func (c *certificate) serverFor(clients *certificate) *tls.Config {
	t := c.server()
	t.ClientAuth, t.ClientCAs = tls.RequireAndVerifyClientCert, clients.roots
	return t
}

// A kind is a kind of broker.
type kind struct {
	name  string
	start func(*testing.T, setup) *broker
}

// kinds returns those that there are on this machine.
func kinds(t *testing.T) []kind {
	all := []kind{{"mochi", startMochi}}
	if mosquittoPath() == "" {
		t.Log(notInstalled)
		return all
	}
	return append(all, kind{"mosquitto", startMosquitto})
}

// allKinds returns every kind that there is on this machine, also those with which
// only some tests deal.
func allKinds(t *testing.T) []kind {
	all := append(kinds(t), kind{"NATS", startNATS})
	if rabbitMQPath() != "" {
		all = append(all, kind{"RabbitMQ", startRabbitMQ})
	} else {
		t.Log("RabbitMQ is not installed: its rows are left out")
	}
	if _, err := aedesFolder(); err == nil {
		all = append(all, kind{"aedes", startAedes})
	} else {
		t.Logf("aedes is not to be had, its rows are left out: %v", err)
	}
	return all
}

var versions = []mqtt.Version{mqtt.V31, mqtt.V311}

// withEach runs test with a broker of each kind, in both versions.
func withEach(t *testing.T, s setup, test func(t *testing.T, b *broker, v mqtt.Version)) {
	t.Parallel()
	for _, k := range kinds(t) {
		for _, v := range versions {
			t.Run(k.name+"/"+v.String(), func(t *testing.T) {
				t.Parallel()
				test(t, k.start(t, s), v)
			})
		}
	}
}

// withMosquitto runs test with mosquitto, in both versions.
func withMosquitto(t *testing.T, s setup, test func(t *testing.T, b *broker, v mqtt.Version)) {
	t.Parallel()
	if mosquittoPath() == "" {
		t.Log(notInstalled)
		return
	}
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			test(t, startMosquitto(t, s), v)
		})
	}
}
