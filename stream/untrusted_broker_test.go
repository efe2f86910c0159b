package stream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// tapped records the bytes that the client writes.
type tapped struct {
	net.Conn
	seen []byte
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.seen = append(c.seen, p[:n]...)
	return n, err
}

// records returns the content types of the TLS records in b.
func records(t *testing.T, b []byte) []byte {
	t.Helper()
	var kinds []byte
	for len(b) > 0 {
		if len(b) < 5 || len(b) < 5+int(b[3])<<8+int(b[4]) {
			t.Fatalf("incomplete record: % x", b)
		}
		kinds = append(kinds, b[0])
		b = b[5+int(b[3])<<8+int(b[4]):]
	}
	return kinds
}

const (
	tlsAlert     = 21 // RFC 8446, section 5.1
	tlsHandshake = 22
)

// L1 to L4: if the client cannot verify a broker, it closes the connection at once. The broker
// receives only the start of a handshake. The client retries at the usual intervals, until the
// broker has a valid certificate.
func TestBrokerThatCannotBeVerifiedIsTriedAgain(t *testing.T) {
	day := 24 * time.Hour
	for name, row := range map[string]struct {
		change  func(*x509.Certificate)
		unknown bool // the client does not trust the authority of the certificate
		is      func(error) bool
	}{
		"expired": {func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*day), time.Now().Add(-day)
		}, false, isInvalid(x509.Expired)},
		"not yet valid": {func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(day), time.Now().Add(2*day)
		}, false, isInvalid(x509.Expired)},
		"another host": {func(c *x509.Certificate) {
			c.DNSNames = []string{"elsewhere"}
		}, false, func(err error) bool { return errors.As(err, new(x509.HostnameError)) }},
		"unknown authority": {nil, true, isUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				mine := newAuthority(t)
				issuer := mine
				if row.unknown {
					issuer = newAuthority(t)
				}
				bad, good := issuer.issue(t, row.change), mine.issue(t, nil)
				s, err := stream.Open("mqtts://broker", with(b, &stream.Options{
					Username: secretUser, Password: []byte(secretPassword),
					TLS:       &tls.Config{RootCAs: mine.pool, MaxVersion: tls.VersionTLS12}, // 1.3 encrypts record types
					Reconnect: &backoff.Backoff{Min: time.Second, Max: time.Minute},
				}))
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				last := time.Now()
				for i, interval := range seconds(0, 1, 2, 4) {
					raw := &tapped{Conn: b.Accept().Raw()}
					wantElapsed(t, last, interval)
					last = time.Now()
					if tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{bad}}).Handshake() == nil {
						t.Fatal("the client completed the handshake")
					}
					if kinds := records(t, raw.seen); !bytes.Equal(kinds, []byte{tlsHandshake, tlsAlert}) {
						t.Errorf("records of the types %d, want ClientHello and an alert", kinds)
					}
					synctest.Wait()
					st := offline(t, s)
					if !row.is(st.Err) || !errors.As(st.Err, new(*tls.CertificateVerificationError)) || st.Attempt != i+1 || !st.Since.Equal(last) {
						t.Errorf("state %+v", st)
					}
				}
				c := b.Accept()
				wantElapsed(t, last, 8*time.Second)
				c.Wrap(tls.Server(c.Raw(), &tls.Config{Certificates: []tls.Certificate{good}}))
				if p := c.Handshake(false); p.UserName != secretUser {
					t.Errorf("CONNECT %+v", p)
				}
				up(t, s)
			})
		})
	}
}

// L5, L6: ConnectTimeout ends an incomplete handshake exactly on time. The client writes no byte of
// MQTT before it.
func TestTLSHandshakeThatDoesNotEndIsBounded(t *testing.T) {
	for name, row := range map[string]func(t *testing.T, raw net.Conn){
		"a plain broker that waits for CONNECT": func(*testing.T, net.Conn) {},
		"half a record":                         func(_ *testing.T, raw net.Conn) { raw.Write([]byte{tlsHandshake, 3, 3, 1, 0, 2, 0}) },
		"a byte of a long record now and then": func(_ *testing.T, raw net.Conn) {
			for _, c := range append([]byte{tlsHandshake, 3, 3, 1, 0}, make([]byte, 4)...) {
				raw.Write([]byte{c})
				elapse(500 * time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				o := with(b, &stream.Options{TLS: &tls.Config{InsecureSkipVerify: true}, ConnectTimeout: 7 * time.Second, Reconnect: every(faultPause), Username: secretUser})
				s, err := stream.Open("mqtts://broker", o)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				for i := range 2 {
					c := b.Accept()
					start := time.Now()
					row(t, c.Raw())
					var got bytes.Buffer
					if _, err := got.ReadFrom(c.Raw()); err != nil { // returns when the client gives up
						t.Fatal(err)
					}
					wantElapsed(t, start, 7*time.Second)
					if kinds := records(t, got.Bytes()); !bytes.Equal(kinds, []byte{tlsHandshake}) {
						t.Errorf("records of the types %d, want ClientHello alone", kinds)
					}
					wantHidden(t, got.String(), secretUser, "MQTT")
					synctest.Wait()
					st := offline(t, s)
					wantError(t, st.Err, context.DeadlineExceeded)
					wantText(t, st.Err, "ConnectTimeout")
					if st.Attempt != i+1 {
						t.Errorf("state %+v", st)
					}
				}
			})
		})
	}
}

// L7: if the broker rejects the client certificate, State.Err wraps the TLS alert, and the session
// retries.
func TestRefusedClientCertificateIsTriedAgain(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				brokers, clients, strangers := newAuthority(t), newAuthority(t), newAuthority(t)
				own := strangers.issue(t, nil)
				server := &tls.Config{
					Certificates: []tls.Certificate{brokers.issue(t, nil)},
					ClientAuth:   tls.RequireAndVerifyClientCert,
					ClientCAs:    clients.pool,
				}
				o := faultOptions(frames.V311)
				o.TLS = &tls.Config{RootCAs: brokers.pool, MaxVersion: version,
					GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }}
				s, err := stream.Open("mqtts://broker", with(b, o))
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				c := b.Accept()
				start := time.Now()
				refused := tls.Server(c.Raw(), server)
				if err := refused.Handshake(); !errors.As(err, new(*tls.CertificateVerificationError)) {
					t.Fatalf("the broker's handshake: %v", err)
				}
				if n, err := refused.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("the broker read %d bytes, %v", n, err)
				}
				synctest.Wait()
				var alert *net.OpError
				if st := offline(t, s); !errors.As(st.Err, &alert) || alert.Op != "remote error" || st.Attempt != 1 || !st.Since.Equal(start) {
					t.Errorf("state %+v", st)
				}
				own = clients.issue(t, nil)
				c = b.Accept()
				wantElapsed(t, start, faultPause)
				c.Wrap(tls.Server(c.Raw(), server))
				c.Handshake(false)
				up(t, s)
			})
		})
	}
}
