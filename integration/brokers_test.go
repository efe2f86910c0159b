package integration

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt"
)

// A broker is used by one test and stops when the test ends.
type broker struct {
	name    string
	version string
	url     string // URL of its TCP listener

	// These are set if the setup asks for them.
	tlsURL, mutualURL, wsURL, wssURL, unixURL string

	process *mosquitto // nil: the broker runs in the test process
}

// inOrder reports whether the broker delivers the messages queued for an absent session in order.
// mochi delivers them in the random order of a Go map.
func (b *broker) inOrder() bool { return b.process != nil }

// best returns the highest QoS of the broker. RabbitMQ has none above 1.
func (b *broker) best() mqtt.QoS {
	if b.name == "RabbitMQ" {
		return mqtt.AtLeastOnce
	}
	return mqtt.ExactlyOnce
}

// levels returns every QoS of the broker.
func (b *broker) levels() []mqtt.QoS { return levels[:b.best()+1] }

// A setup configures a broker. The zero value has only a TCP listener without authentication.
type setup struct {
	// cert adds a listener for TLS, unix a listener on a unix socket, and webSocket a listener for
	// WebSockets. cert together with webSocket adds wss too. clients adds a TLS listener that
	// accepts only this client certificate.
	cert      *certificate
	clients   *certificate
	unix      bool
	webSocket bool

	// If user and password are set, clients need them to connect.
	user, password string

	// The broker refuses every subscription to the topic filter deny. Only mochi supports it.
	deny string

	// limits are lines for the configuration of mosquitto.
	limits string

	// plugin is the path of a shared library that mosquitto loads.
	plugin string

	// persistent makes mosquitto save its sessions to a file when it is terminated.
	persistent bool
}

// A certificate is self-signed.
type certificate struct {
	tls       tls.Certificate
	cert, key []byte // PEM
	roots     *x509.CertPool
}

// server returns the configuration of a server with this certificate.
func (c *certificate) server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.tls}}
}

// serverFor returns the configuration of a server that requires the certificate of clients.
func (c *certificate) serverFor(clients *certificate) *tls.Config {
	t := c.server()
	t.ClientAuth, t.ClientCAs = tls.RequireAndVerifyClientCert, clients.roots
	return t
}

type kind struct {
	name   string
	start  func(*testing.T, setup) *broker
	knows5 bool // false: it knows only 3.1.1 and perhaps 3.1
}

// kinds returns those kinds of broker for most tests that are installed.
func kinds(t *testing.T) []kind {
	all := []kind{{"mochi", startMochi, true}}
	if mosquittoPath() == "" {
		t.Log(notInstalled)
		return all
	}
	return append(all, kind{"mosquitto", startMosquitto, true})
}

// allKinds returns every kind of broker that is installed.
func allKinds(t *testing.T) []kind {
	all := append(kinds(t), kind{"NATS", startNATS, false})
	for _, k := range []struct {
		kind
		path string
	}{
		{kind{"RabbitMQ", startRabbitMQ, rabbitMQKnows5()}, rabbitMQPath()},
		{kind{"ejabberd", startEjabberd, true}, ejabberdLibraries()},
	} {
		if k.path != "" {
			all = append(all, k.kind)
		} else {
			t.Logf("%s is not installed: its rows are skipped", k.name)
		}
	}
	for _, k := range []struct {
		kind
		folder func() (string, error)
	}{
		{kind{"aedes 1", startAedes, false}, aedesFolder},
		{kind{"aedes 2", startAedes5, true}, aedes5Folder},
	} {
		if _, err := k.folder(); err == nil {
			all = append(all, k.kind)
		} else {
			t.Logf("%s is not available, its rows are skipped: %v", k.name, err)
		}
	}
	return all
}

// kinds5 returns every installed kind of broker that knows MQTT 5.
func kinds5(t *testing.T) []kind {
	return slices.DeleteFunc(allKinds(t), func(k kind) bool { return !k.knows5 })
}

// Where the environment variable MILLRACE_BROKERS is "all", as in the gate on Debian, a missing
// broker is a failure. Elsewhere this test names the brokers whose tests are skipped.
func TestEveryBrokerIsInstalled(t *testing.T) {
	missing := t.Logf
	if os.Getenv("MILLRACE_BROKERS") == "all" {
		missing = t.Errorf
	}
	notFound := errors.New("not found")
	check := func(name string, err error) {
		if err != nil {
			missing("%s is not installed, and its tests are skipped: %v", name, err)
		}
	}
	if mosquittoPath() == "" {
		check("mosquitto", notFound)
	}
	if rabbitMQPath() == "" {
		check("RabbitMQ", notFound)
	}
	if ejabberdLibraries() == "" {
		check("ejabberd", notFound)
	}
	_, err := aedesFolder()
	check("aedes "+aedesVersion, err)
	_, err = aedes5Folder()
	check("aedes "+aedes5Version, err)
	check("mosquitto-dev", pluginTools())
	for _, client := range []string{"mosquitto_pub", "mosquitto_sub"} {
		_, err := exec.LookPath(client)
		check(client, err)
	}
}

var versions = []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5}

// older are the versions of tests that count bytes, or that rely on a rule MQTT 5 has changed.
var older = []mqtt.Version{mqtt.V31, mqtt.V311}

// withEach runs test with a broker of each kind, in each version.
func withEach(t *testing.T, s setup, test func(t *testing.T, b *broker, v mqtt.Version)) {
	withVersions(t, versions, s, test)
}

func withVersions(t *testing.T, versions []mqtt.Version, s setup, test func(t *testing.T, b *broker, v mqtt.Version)) {
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

// withMosquitto runs a heavy test with mosquitto.
func withMosquitto(t *testing.T, s setup, test func(t *testing.T, b *broker, v mqtt.Version)) {
	t.Parallel()
	if mosquittoPath() == "" {
		t.Log(notInstalled)
		return
	}
	for _, v := range heavy() {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			test(t, startMosquitto(t, s), v)
		})
	}
}
