package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// selfSigned returns a certificate for 127.0.0.1 that is valid now.
func selfSigned(t *testing.T) *certificate {
	t.Helper()
	return selfSignedFor(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
}

func selfSignedFor(t *testing.T, from, to time.Time) *certificate {
	t.Helper()
	c, err := signOneself(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func signOneself(from, to time.Time) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "millrace test broker"},
		NotBefore:             from,
		NotAfter:              to,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	c := &certificate{
		cert:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		roots: x509.NewCertPool(),
	}
	c.roots.AppendCertsFromPEM(c.cert)
	c.tls, err = tls.X509KeyPair(c.cert, c.key)
	return c, err
}

// roundTrip connects a client that publishes a message to itself at each QoS.
func roundTrip(t *testing.T, url string, o mqtt.Options) {
	t.Helper()
	c := dial(t, url, o)
	sub := subscribe(t, c, mqtt.Filter{Topic: "round/trip", QoS: mqtt.ExactlyOnce})
	for _, q := range levels {
		publish(t, c, text("round/trip", "hello", q))
		expect(t, sub.Messages(), text("round/trip", "hello", q))
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// L3, L4
func TestTLS(t *testing.T) {
	cert, other := selfSigned(t), selfSigned(t)
	withEach(t, setup{cert: cert}, func(t *testing.T, b *broker, v mqtt.Version) {
		roundTrip(t, b.tlsURL, mqtt.Options{Version: v, ClientID: "tls", TLS: &tls.Config{RootCAs: cert.roots}})

		_, err := mqtt.Dial(within(t), b.tlsURL, withLog(t, mqtt.Options{Version: v, ClientID: "refused", TLS: &tls.Config{RootCAs: other.roots}}))
		var unknown x509.UnknownAuthorityError
		if !errors.As(err, &unknown) {
			t.Errorf("with the roots of another certificate: got %v, want an x509.UnknownAuthorityError", err)
		}
		_, err = mqtt.Dial(within(t), b.tlsURL, withLog(t, mqtt.Options{Version: v, ClientID: "refused", TLS: &tls.Config{RootCAs: cert.roots, ServerName: "elsewhere"}}))
		var hostname x509.HostnameError
		if !errors.As(err, &hostname) {
			t.Errorf("with another name: got %v, want an x509.HostnameError", err)
		}
	})
}

// L1, L2
func TestTLSOutOfDate(t *testing.T) {
	for name, cert := range map[string]*certificate{
		"expired":       selfSignedFor(t, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)),
		"not yet valid": selfSignedFor(t, time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)),
	} {
		t.Run(name, func(t *testing.T) {
			withEach(t, setup{cert: cert}, func(t *testing.T, b *broker, v mqtt.Version) {
				_, err := mqtt.Dial(within(t), b.tlsURL, withLog(t, mqtt.Options{Version: v, ClientID: "refused", TLS: &tls.Config{RootCAs: cert.roots}}))
				var invalid x509.CertificateInvalidError
				if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
					t.Errorf("got %v, want an x509.CertificateInvalidError with reason Expired", err)
				}
			})
		})
	}
}

// L7: the broker requires a certificate that it trusts. With TLS 1.3 the client completes the
// handshake before the broker has checked the certificate.
func TestTLSClientCertificate(t *testing.T) {
	cert, stranger := selfSigned(t), selfSigned(t)
	withEach(t, setup{cert: cert, clients: cert}, func(t *testing.T, b *broker, v mqtt.Version) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			config := &tls.Config{RootCAs: cert.roots, MaxVersion: version}
			offer := func(c *certificate) {
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.tls, nil }
			}
			offer(cert)
			roundTrip(t, b.mutualURL, mqtt.Options{Version: v, ClientID: "known", TLS: config})
			offer(stranger)
			_, err := mqtt.Dial(within(t), b.mutualURL, withLog(t, mqtt.Options{Version: v, ClientID: "stranger", TLS: config}))
			var op *net.OpError
			if !errors.As(err, &op) {
				t.Errorf("%s: got %v, want a *net.OpError", tls.VersionName(version), err)
			}
		}
	})
}

// L5
func TestTLSAndPlainDoNotMeet(t *testing.T) {
	cert := selfSigned(t)
	withEach(t, setup{cert: cert}, func(t *testing.T, b *broker, v mqtt.Version) {
		o := mqtt.Options{Version: v, ClientID: "wrong", TLS: &tls.Config{RootCAs: cert.roots}, ConnectTimeout: 2 * time.Second}
		for _, url := range []string{
			"mqtts" + b.url[len("mqtt"):],
			"mqtt" + b.tlsURL[len("mqtts"):],
		} {
			if c, err := mqtt.Dial(within(t), url, withLog(t, o)); err == nil {
				t.Errorf("%s: no error", url)
				c.Close()
			}
		}
	})
}

// The client calls Prepare for every connection. The broker rejects the first certificate and
// accepts the next.
func TestAClientCertificateThatRotates(t *testing.T) {
	cert, clients, expired := selfSigned(t), selfSigned(t), selfSigned(t)
	withEach(t, setup{cert: cert, clients: clients}, func(t *testing.T, b *broker, v mqtt.Version) {
		var asked atomic.Int32
		c, err := mqtt.Open(b.mutualURL, withLog(t, mqtt.Options{Version: v, ClientID: "rotates", Reconnect: soon(),
			Prepare: withTLS(func(context.Context) (*tls.Config, error) {
				mine := clients.tls
				if asked.Add(1) == 1 {
					mine = expired.tls
				}
				return &tls.Config{RootCAs: cert.roots, Certificates: []tls.Certificate{mine}}, nil
			})}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		states := c.States(within(t))
		if s := until(t, states, func(s mqtt.State) bool { return s.Online || s.Err != nil }); !isRemote(s.Err) {
			t.Errorf("first attempt: online %t, %v; want a rejection", s.Online, s.Err)
		}
		until(t, states, func(s mqtt.State) bool { return s.Online })
	})
}

func TestUnixSocket(t *testing.T) {
	withEach(t, setup{unix: true}, func(t *testing.T, b *broker, v mqtt.Version) {
		roundTrip(t, b.unixURL, mqtt.Options{Version: v, ClientID: "unix"})
	})
}

func TestDialContextMakesTheConnection(t *testing.T) {
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		dialed := make(chan string, 1)
		roundTrip(t, "mqtt://broker.example:42", mqtt.Options{Version: v, ClientID: "dialed",
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialed <- network + " " + addr
				return new(net.Dialer).DialContext(ctx, "tcp", b.url[len("mqtt://"):])
			}})
		if got := next(t, dialed); got != "tcp broker.example:42" {
			t.Errorf("dialed %s", got)
		}
	})
}

// N2
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	_, err := mqtt.Dial(within(t), "mqtt://"+deaf(t), nil)
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("got %v, want the *net.OpError of a dial", err)
	}
}

// deaf returns an address at which nobody listens until the end of the test. It is the local
// address of a connection, since a port that is free could be taken by another test.
func deaf(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}
