package stream_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// An authority issues certificates. A client trusts them only if its RootCAs is the pool of the
// authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	a.cert, a.key = a.sign(t, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "the mill's own authority"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	})
	a.pool.AddCert(a.cert)
	return a
}

// issue returns a certificate for broker, localhost and 127.0.0.1, valid now unless change alters
// it.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	c := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "an end"},
		DNSNames:    []string{"broker", "localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(c)
	}
	cert, key := a.sign(t, c)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// sign makes a key and signs its certificate. A new authority signs its own certificate.
func (a *authority) sign(t *testing.T, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	c.SerialNumber = big.NewInt(1)
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-time.Hour)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// listening returns a listener on the loopback interface. The end of the test closes the listener.
func listening(t *testing.T, network, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// served lets r serve all connections of l until the test ends.
func served(t *testing.T, l net.Listener, r *streamtest.Responder) {
	t.Helper()
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				if err := r.Serve(conn); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// hooked passes the next connection of l to f in a goroutine, and returns a channel with the result
// of f.
func hooked[T any](t *testing.T, l net.Listener, f func(net.Conn) T) <-chan T {
	t.Helper()
	ch := make(chan T, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			close(ch)
			return
		}
		defer conn.Close()
		ch <- f(conn)
	}()
	return ch
}

// roundTrip dials url, publishes messages of each QoS and receives them again.
func roundTrip(t *testing.T, url string, o *stream.Options) {
	t.Helper()
	s, err := stream.Dial(aMinute(t), url, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sub, err := s.Subscribe(aMinute(t), frames.Filter{Topic: "mill/#", QoS: 2})
	if err != nil {
		t.Fatal(err)
	}
	in := sub.Deliveries()
	large := string(bytes.Repeat([]byte("grain "), 20_000))
	for q := range frames.QoS(3) {
		for _, payload := range []string{"", "corn", large} {
			if err := s.Publish(aMinute(t), message("mill/wheel", payload, q)); err != nil {
				t.Fatal(err)
			}
			d := wantDelivery(t, in, "mill/wheel", payload)
			if d.QoS != q {
				t.Fatalf("received at %v, want %v", d.QoS, q)
			}
			d.Ack()
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestLoopbackTCP(t *testing.T) {
	l := listening(t, "tcp", "127.0.0.1:0")
	served(t, l, &streamtest.Responder{Loopback: true})
	for _, v := range eachOf {
		roundTrip(t, "mqtt://"+l.Addr().String(), &stream.Options{Version: v, ClientID: "c"})
		roundTrip(t, "tcp://"+l.Addr().String(), &stream.Options{Version: v, ClientID: "c"})
	}
}

// Dial accepts nil Options.
func TestNilOptions(t *testing.T) {
	l := listening(t, "tcp", "127.0.0.1:0")
	served(t, l, &streamtest.Responder{Loopback: true})
	roundTrip(t, "mqtt://"+l.Addr().String(), nil)
}

func TestNilOptionsConnectWithTheDefaults(t *testing.T) {
	l := listening(t, "tcp", "127.0.0.1:0")
	first := hooked(t, l, func(conn net.Conn) []byte {
		b := make([]byte, 25)
		io.ReadFull(conn, b)
		l.Close() // so that the attempt at the older version fails at once
		return b
	})
	if s, err := stream.Dial(aMinute(t), "mqtt://"+l.Addr().String(), nil); err == nil {
		s.Close()
		t.Fatal("connected without CONNACK")
	}
	// No Topic Alias Maximum, since mochi 2.7.9 would use an alias on the next connection too.
	want := "\x10\x17\x00\x04MQTT\x05\x02\x00\x3C\x0A\x21\x01\x00\x27\x00\x10\x00\x00\x19\x01\x00\x00"
	if got := <-first; string(got) != want {
		t.Errorf("CONNECT % x, want % x", got, want)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	l := listening(t, "unix", path)
	served(t, l, &streamtest.Responder{Loopback: true})
	roundTrip(t, "unix://"+path, nil)

	missing := path + ".none"
	_, err := stream.Dial(aMinute(t), "unix://"+missing, nil)
	var op *net.OpError
	if !errors.As(err, &op) || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v", err)
	}
}

func TestTLSWithAnAuthorityOfItsOwn(t *testing.T) {
	a := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}}
	l := tls.NewListener(listening(t, "tcp", "127.0.0.1:0"), config)
	served(t, l, &streamtest.Responder{Loopback: true})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, url := range []string{"mqtts://" + l.Addr().String(), "ssl://" + l.Addr().String(), "tls://localhost:" + port} {
		roundTrip(t, url, &stream.Options{
			TLS: &tls.Config{RootCAs: a.pool},
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, l.Addr().String()) // localhost may have another address
			},
		})
	}
	t.Run("TLS 1.2", func(t *testing.T) {
		roundTrip(t, "mqtts://"+l.Addr().String(), &stream.Options{TLS: &tls.Config{RootCAs: a.pool, MaxVersion: tls.VersionTLS12}})
	})
	t.Run("ServerName of the options goes before the URL", func(t *testing.T) {
		roundTrip(t, "mqtts://"+l.Addr().String(), &stream.Options{TLS: &tls.Config{RootCAs: a.pool, ServerName: "broker"}})
		l := listening(t, "tcp", "127.0.0.1:0")
		hooked(t, l, func(conn net.Conn) error { return tls.Server(conn, config).Handshake() })
		_, err := stream.Dial(aMinute(t), "mqtts://"+l.Addr().String(), &stream.Options{TLS: &tls.Config{RootCAs: a.pool, ServerName: "stranger"}})
		if !errors.As(err, new(x509.HostnameError)) {
			t.Errorf("error %v", err)
		}
	})
}

// Options with TLS settings are an error for a URL without TLS, because nothing would be encrypted.
func TestTLSOptionsWithoutTLSAreAnError(t *testing.T) {
	_, err := stream.Open("mqtt://broker", &stream.Options{TLS: &tls.Config{}})
	var option *stream.OptionError
	if !errors.As(err, &option) || option.Field != "TLS" {
		t.Errorf("error %v, want one that names TLS", err)
	}
}

// L1 to L4: the client sends no byte of MQTT to a broker whose certificate it cannot verify.
func TestTLSVerifiesTheBroker(t *testing.T) {
	mine, other := newAuthority(t), newAuthority(t)
	day := 24 * time.Hour
	for name, row := range map[string]struct {
		cert  tls.Certificate
		roots *x509.CertPool // nil means the pool of the system
		check func(error) bool
	}{
		"expired": {mine.issue(t, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*day), time.Now().Add(-day)
		}), mine.pool, isInvalid(x509.Expired)},
		"not yet valid": {mine.issue(t, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(day), time.Now().Add(2*day)
		}), mine.pool, isInvalid(x509.Expired)},
		"another host": {mine.issue(t, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{"elsewhere"}, nil
		}), mine.pool, func(err error) bool { return errors.As(err, new(x509.HostnameError)) }},
		"unknown authority":     {other.issue(t, nil), mine.pool, isUnknown},
		"unknown to the system": {mine.issue(t, nil), nil, isUnknown},
		"not for servers":       {mine.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }), mine.pool, isInvalid(x509.IncompatibleUsage)},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				l := listening(t, "tcp", "127.0.0.1:0")
				type outcome struct {
					n   int
					err error
				}
				seen := hooked(t, l, func(conn net.Conn) outcome {
					c := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{row.cert}})
					n, err := c.Read(make([]byte, 100)) // the first Read completes the handshake
					return outcome{n, err}
				})
				o := &stream.Options{Username: secretUser, Password: []byte(secretPassword)}
				if row.roots != nil {
					o.TLS = &tls.Config{RootCAs: row.roots}
				} else {
					o.TLS = new(tls.Config)
				}
				o.TLS.MaxVersion = version
				s, err := stream.Dial(aMinute(t), "mqtts://"+l.Addr().String(), o)
				if err == nil {
					s.Close()
					t.Fatal("Dial succeeded")
				}
				if !row.check(err) || !errors.As(err, new(*tls.CertificateVerificationError)) {
					t.Errorf("error %v (%T)", err, errors.Unwrap(err))
				}
				wantText(t, err, "TLS")
				if got := <-seen; got.n > 0 || got.err == nil {
					t.Errorf("the broker read %d bytes, %v", got.n, got.err)
				}
			})
		}
	}
}

func isUnknown(err error) bool { return errors.As(err, new(x509.UnknownAuthorityError)) }

func isInvalid(reason x509.InvalidReason) func(error) bool {
	return func(err error) bool {
		var invalid x509.CertificateInvalidError
		return errors.As(err, &invalid) && invalid.Reason == reason
	}
}

// L5: one side speaks TLS and the other does not.
func TestTLSAgainstAPlainBrokerAndTheReverse(t *testing.T) {
	t.Run("TLS against a plain broker that answers", func(t *testing.T) {
		l := listening(t, "tcp", "127.0.0.1:0")
		seen := hooked(t, l, func(conn net.Conn) []byte {
			conn.Write([]byte{0x20, 2, 0, 0, 0xD0, 0})
			b, _ := io.ReadAll(conn)
			return b
		})
		_, err := stream.Dial(aMinute(t), "mqtts://"+l.Addr().String(), &stream.Options{TLS: &tls.Config{InsecureSkipVerify: true}, ClientID: "my-client"})
		if !errors.As(err, new(tls.RecordHeaderError)) {
			t.Errorf("error %v", err)
		}
		wantText(t, err, "TLS")
		if got := <-seen; bytes.Contains(got, []byte("MQTT")) || bytes.Contains(got, []byte("my-client")) {
			t.Errorf("the broker read %q", got)
		}
	})
	t.Run("TLS against a plain broker that closes", func(t *testing.T) {
		l := listening(t, "tcp", "127.0.0.1:0")
		seen := hooked(t, l, func(conn net.Conn) error {
			_, err := frames.ReadFrame(frames.NewReader(conn, 0))
			return err
		})
		_, err := stream.Dial(aMinute(t), "mqtts://"+l.Addr().String(), nil)
		wantText(t, err, "TLS")
		wantViolation(t, <-seen, "reserved flags") // the first byte of a ClientHello is 0x16
	})
	t.Run("plain against a TLS broker", func(t *testing.T) {
		l := listening(t, "tcp", "127.0.0.1:0")
		cert := newAuthority(t).issue(t, nil)
		seen := hooked(t, l, func(conn net.Conn) error {
			return tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
		})
		_, err := stream.Dial(aMinute(t), "mqtt://"+l.Addr().String(), &stream.Options{Version: version})
		if err == nil {
			t.Fatal("Dial succeeded")
		}
		wantText(t, err, "CONNACK")
		if err := <-seen; !errors.As(err, new(tls.RecordHeaderError)) {
			t.Errorf("error of the broker %v", err)
		}
	})
}

// L6: ConnectTimeout ends the handshake on a real socket too; C8 checks the exact time.
func TestTLSHandshakeThatNeverEnds(t *testing.T) {
	l := listening(t, "tcp", "127.0.0.1:0")
	seen := hooked(t, l, func(conn net.Conn) []byte {
		b, _ := io.ReadAll(conn) // returns when the client gives up
		return b
	})
	_, err := stream.Dial(aMinute(t), "mqtts://"+l.Addr().String(), &stream.Options{ConnectTimeout: 20 * time.Millisecond})
	wantError(t, err, context.DeadlineExceeded)
	wantText(t, err, "ConnectTimeout")
	l.Close() // on a busy machine the time may end before there is a connection
	if b := <-seen; bytes.Contains(b, []byte("MQTT")) {
		t.Errorf("the broker read %q", b)
	}
}

// L7: if the broker rejects the client certificate or receives none, the error wraps the TLS alert.
func TestClientCertificate(t *testing.T) {
	brokers, clients, strangers := newAuthority(t), newAuthority(t), newAuthority(t)
	serverSide := &tls.Config{
		Certificates: []tls.Certificate{brokers.issue(t, nil)},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients.pool,
	}
	t.Run("taken", func(t *testing.T) {
		l := tls.NewListener(listening(t, "tcp", "127.0.0.1:0"), serverSide)
		served(t, l, &streamtest.Responder{Loopback: true})
		roundTrip(t, "mqtts://"+l.Addr().String(), &stream.Options{TLS: &tls.Config{
			RootCAs:      brokers.pool,
			Certificates: []tls.Certificate{clients.issue(t, nil)},
		}})
	})
	for name, certs := range map[string][]tls.Certificate{
		"refused": {strangers.issue(t, nil)},
		"missing": nil,
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				l := listening(t, "tcp", "127.0.0.1:0")
				seen := hooked(t, l, func(conn net.Conn) error {
					c := tls.Server(conn, serverSide)
					err := c.Handshake()
					io.Copy(io.Discard, conn) // a reset because of unread bytes would lose the alert
					return err
				})
				offered := false
				_, err := stream.Dial(aMinute(t), "mqtts://"+l.Addr().String(), &stream.Options{TLS: &tls.Config{
					RootCAs: brokers.pool, MaxVersion: version,
					GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
						offered = true
						if certs == nil {
							return new(tls.Certificate), nil
						}
						return &certs[0], nil
					},
				}})
				if !errors.As(err, new(tls.AlertError)) && !strings.Contains(fmt.Sprint(err), "remote error: tls:") {
					t.Errorf("error %v", err)
				}
				if !offered {
					t.Error("the broker did not request a certificate")
				}
				if err := <-seen; err == nil {
					t.Error("the broker completed the handshake")
				}
			})
		}
	}
}

// TLS in a bubble: the script runs over the server's side of TLS, given to Wrap.
func TestTLSConnectionEnds(t *testing.T) {
	script := func(t *testing.T, end func(t *testing.T, s *stream.Session, c *streamtest.Conn, raw net.Conn)) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			a := newAuthority(t)
			o := faultOptions(frames.V311)
			o.KeepAlive = 10 * time.Second
			o.TLS = &tls.Config{RootCAs: a.pool}
			o = with(b, o)
			s, err := stream.Open("mqtts://broker", o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			o.TLS.RootCAs = nil // no effect, since Open has copied the options
			c := b.Accept()
			raw := c.Raw()
			c.Wrap(tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}}))
			c.Handshake(false)
			up(t, s)
			published := goPublish(s, message("t", "p", 2))
			c.Complete(streamtest.Next[frames.Publish](c))
			wantError(t, outcome(t, published), nil)
			end(t, s, c, raw)
		})
	}
	t.Run("by Close: DISCONNECT, and an orderly end", func(t *testing.T) {
		script(t, func(t *testing.T, s *stream.Session, c *streamtest.Conn, raw net.Conn) {
			s.Close()
			c.ExpectDisconnect() // ExpectDisconnect requires close_notify too
		})
	})
	t.Run("by a violation: at once, and no orderly end", func(t *testing.T) {
		script(t, func(t *testing.T, s *stream.Session, c *streamtest.Conn, raw net.Conn) {
			start, before := time.Now(), c.Bytes()
			c.SendBytes(body(0x00))
			c.ExpectClosed()
			wantElapsed(t, start, 0)
			if n := c.Bytes() - before; n > 0 {
				t.Errorf("%d bytes written, want none, not even close_notify", n)
			}
			wantViolation(t, lost(t, s), "reserved")
		})
	})
	t.Run("by a broker that freezes in mid-record", func(t *testing.T) {
		script(t, func(t *testing.T, s *stream.Session, c *streamtest.Conn, raw net.Conn) {
			raw.Write([]byte{0x17, 3, 3, 0, 100})
			start := time.Now()
			wantText(t, lost(t, s), "PINGREQ")
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("the connection ended after %v, want at most 20 s", d)
			}
		})
	})
}

func TestDialContextMakesTheConnections(t *testing.T) {
	t.Run("with network, address and deadline", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			type call struct {
				network, addr string
				left          time.Duration
			}
			var calls []call
			o := faultOptions(frames.V311)
			o.ConnectTimeout = 9 * time.Second
			o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				deadline, _ := ctx.Deadline()
				calls = append(calls, call{network, addr, time.Until(deadline)})
				return b.Dial(ctx, network, addr)
			}
			s := open(t, b, o)
			b.Handshake(false).Drop()
			lost(t, s)
			c := b.Handshake(false)
			up(t, s)
			if want := (call{"tcp", "broker:1883", 9 * time.Second}); len(calls) != 2 || calls[0] != want || calls[1] != want {
				t.Errorf("calls %+v, want two of %+v", calls, want)
			}
			s.Close()
			c.ExpectDisconnect()
		})
	})
	t.Run("its errors are kept", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			reason := errors.New("no route to the mill")
			o := faultOptions(frames.V311)
			o.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, reason }
			wantError(t, outcome(t, goDial(aMinute(t), t, b, "mqtt://broker", o)), reason)
			wantError(t, lost(t, open(t, b, o)), reason)
		})
	})
	t.Run("its context ends with Close", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			b.Hold(1)
			s := open(t, b, &stream.Options{ConnectTimeout: -1})
			synctest.Wait()
			start := time.Now()
			s.Close()
			wantElapsed(t, start, 0)
		})
	})
}

func TestCredentialsAreAskedAtEveryConnection(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		n := 0
		o := faultOptions(frames.V311)
		o.Username, o.Password = "not", []byte("these")
		o.Prepare = login(func(ctx context.Context) (string, []byte, error) {
			n++
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != 10*time.Second {
				t.Errorf("the deadline of the context is %v (%v), want 10 s from now", deadline, ok)
			}
			return fmt.Sprint("user", n), fmt.Append(nil, "token", n), nil
		})
		open(t, b, o)
		for i := 1; i < 4; i++ {
			c := b.Accept()
			p := c.ExpectConnect()
			if p.UserName != fmt.Sprint("user", i) || string(p.Password) != fmt.Sprint("token", i) {
				t.Errorf("CONNECT %d: %+v", i, p)
			}
			if i == 1 {
				c.Connack(false, frames.BadUserNameOrPassword)
				continue
			}
			c.Connack(false, frames.Success)
			c.Drop()
		}
	})
}

func TestCredentialsMayBeNone(t *testing.T) {
	for name, row := range map[string]struct {
		user     string
		password []byte
		want     frames.Connect
	}{
		"neither":        {"", nil, frames.Connect{}},
		"user alone":     {"u", nil, frames.Connect{UserNameFlag: true, UserName: "u"}},
		"empty password": {"u", []byte{}, frames.Connect{UserNameFlag: true, UserName: "u", PasswordFlag: true}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				open(t, b, &stream.Options{Prepare: login(func(context.Context) (string, []byte, error) { return row.user, row.password, nil })})
				p := b.Accept().ExpectConnect()
				if p.UserNameFlag != row.want.UserNameFlag || p.PasswordFlag != row.want.PasswordFlag || p.UserName != row.want.UserName || len(p.Password) > 0 {
					t.Errorf("CONNECT %+v", p)
				}
			})
		})
	}
}

func TestCredentialsThatFailFailTheAttempt(t *testing.T) {
	reason := errors.New("the vault is shut")
	for name, row := range map[string]struct {
		answer func(context.Context) (string, []byte, error)
		want   string
		is     error
	}{
		"an error":                      {func(context.Context) (string, []byte, error) { return "u", nil, reason }, "vault", reason},
		"a password without user":       {func(context.Context) (string, []byte, error) { return "", []byte(secretPassword), nil }, "user name", nil},
		"a user name that is not UTF-8": {func(context.Context) (string, []byte, error) { return "\xFF", nil, nil }, "user name", nil},
		"a user name with U+0000":       {func(context.Context) (string, []byte, error) { return secretUser + "\x00", nil, nil }, "user name", nil},
		"a user name that is too long":  {func(context.Context) (string, []byte, error) { return str(65536), nil, nil }, "65535", nil},
		"a password that is too long":   {func(context.Context) (string, []byte, error) { return "u", make([]byte, 65536), nil }, "65535", nil},
	} {
		allowed := eachOf
		if name != "a password without user" { // which MQTT 5 allows
			allowed = append(allowed, frames.V5)
		}
		t.Run(name, func(t *testing.T) {
			inVersions(t, allowed, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				var good atomic.Bool
				o := faultOptions(v)
				o.Prepare = login(func(ctx context.Context) (string, []byte, error) {
					if good.Load() {
						return "good", nil, nil
					}
					return row.answer(ctx)
				})
				check := func(err error) {
					t.Helper()
					wantText(t, err, "Prepare")
					wantText(t, err, row.want)
					if row.is != nil {
						wantError(t, err, row.is)
					}
					wantHidden(t, err.Error(), secretUser, secretPassword)
					if d := b.Dials(); len(d) > 0 {
						t.Errorf("dialed: %v", d)
					}
				}
				check(outcome(t, goDial(aMinute(t), t, b, "mqtt://broker", o)))
				start := time.Now()
				s := open(t, b, o)
				check(lost(t, s))
				synctest.Wait()
				good.Store(true)
				returns(t, b, s, nil, start)
			})
		})
	}
}

func TestCredentialsEndWithClose(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s := open(t, b, &stream.Options{ConnectTimeout: -1, Prepare: login(func(ctx context.Context) (string, []byte, error) {
			<-ctx.Done()
			return "", nil, context.Cause(ctx)
		})})
		synctest.Wait()
		start := time.Now()
		s.Close()
		wantElapsed(t, start, 0)
		if d := b.Dials(); len(d) > 0 {
			t.Errorf("dialed: %v", d)
		}
	})
}

// Every byte of CONNECT. [MQTT-3.1.0-1] CONNECT is the first packet. The other statements are named
// beside the fields.
func TestConnectOnTheWire(t *testing.T) {
	type options = stream.Options
	will := func(q frames.QoS, retain bool) *frames.Message {
		return &frames.Message{Topic: "w/t", Payload: []byte("bye"), QoS: q, Retain: retain}
	}
	for _, row := range []struct {
		name string
		o    options
		want string // the bytes after the protocol level: flags, keep alive, payload
	}{
		{"[MQTT-3.1.2-3] [MQTT-3.1.3-3] clean session, nothing else", options{ClientID: "c"},
			"\x02\x00\x3C" + "\x00\x01c"},
		{"[MQTT-3.1.2-4] kept session", options{ClientID: "c", KeepSession: true},
			"\x00\x00\x3C" + "\x00\x01c"},
		{"[MQTT-3.1.3-4] an identifier of wide characters", options{ClientID: "мельница"},
			"\x02\x00\x3C" + "\x00\x10мельница"},
		{"[MQTT-3.1.2-23] no keep alive", options{ClientID: "c", KeepAlive: -1},
			"\x02\x00\x00" + "\x00\x01c"},
		{"[MQTT-3.1.2-23] the longest keep alive", options{ClientID: "c", KeepAlive: 65535 * time.Second},
			"\x02\xFF\xFF" + "\x00\x01c"},
		{"[MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-15] no will, no bit of it", options{ClientID: "c", Username: "u"},
			"\x82\x00\x3C" + "\x00\x01c" + "\x00\x01u"},
		{"[MQTT-3.1.2-9] will at QoS 0", options{ClientID: "c", Will: will(0, false)},
			"\x06\x00\x3C" + "\x00\x01c" + "\x00\x03w/t" + "\x00\x03bye"},
		{"[MQTT-3.1.2-9] [MQTT-3.1.2-14] will at QoS 1", options{ClientID: "c", Will: will(1, false)},
			"\x0E\x00\x3C" + "\x00\x01c" + "\x00\x03w/t" + "\x00\x03bye"},
		{"[MQTT-3.1.2-9] [MQTT-3.1.2-14] will at QoS 2, retained", options{ClientID: "c", Will: will(2, true)},
			"\x36\x00\x3C" + "\x00\x01c" + "\x00\x03w/t" + "\x00\x03bye"},
		{"[MQTT-3.1.2-9] an empty will", options{ClientID: "c", Will: &frames.Message{Topic: "w"}},
			"\x06\x00\x3C" + "\x00\x01c" + "\x00\x01w" + "\x00\x00"},
		{"[MQTT-3.1.2-18] [MQTT-3.1.2-20] neither user name nor password", options{ClientID: "c"},
			"\x02\x00\x3C" + "\x00\x01c"},
		{"[MQTT-3.1.2-19] [MQTT-3.1.2-20] user name alone", options{ClientID: "c", Username: "me"},
			"\x82\x00\x3C" + "\x00\x01c" + "\x00\x02me"},
		{"[MQTT-3.1.2-21] user name and a password of any bytes", options{ClientID: "c", Username: "me", Password: []byte{0, 0xFF}},
			"\xC2\x00\x3C" + "\x00\x01c" + "\x00\x02me" + "\x00\x02\x00\xFF"},
		{"[MQTT-3.1.2-21] an empty password", options{ClientID: "c", Username: "me", Password: []byte{}},
			"\xC2\x00\x3C" + "\x00\x01c" + "\x00\x02me" + "\x00\x00"},
		{"[MQTT-3.1.3-1] everything, in its order", options{ClientID: "c", KeepSession: true, KeepAlive: 10 * time.Second, Will: will(2, true), Username: "me", Password: []byte("pw")},
			"\xF4\x00\x0A" + "\x00\x01c" + "\x00\x03w/t" + "\x00\x03bye" + "\x00\x02me" + "\x00\x02pw"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inEachVersion(t, func(t *testing.T, b *streamtest.Broker, v frames.Version) {
				row.o.Version = v
				name := "\x00\x04MQTT\x04" // [MQTT-3.1.2-1] [MQTT-3.1.2-2]
				if v == frames.V31 {
					name = "\x00\x06MQIsdp\x03"
				}
				want := row.want
				if v >= frames.V5 {
					name, want = "\x00\x04MQTT\x05", withProperties(row.want, &row.o)
				}
				wantOnTheWire(t, b, &row.o, name+want)
			})
		})
	}
	t.Run("[MQTT-3.1.3-3] an empty identifier has its length", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			o := &stream.Options{Version: frames.V311}
			wantOnTheWire(t, b, o, "\x00\x04MQTT\x04"+"\x02\x00\x3C"+"\x00\x00")
		})
	})
	t.Run("a remaining length of three bytes", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			wantOnTheWire(t, b, &stream.Options{Version: frames.V311, ClientID: str(40_000)}, "\x00\x04MQTT\x04"+"\x02\x00\x3C"+"\x9C\x40"+str(40_000))
		})
	})
}

// withProperties returns the body of a CONNECT, from its flags on, with the properties that MQTT 5
// adds: after the keep alive, and before the topic of the will.
func withProperties(body string, o *stream.Options) string {
	properties := ownProperties
	if o.KeepSession { // a session expiry of all ones: for ever
		properties = string(rune(len(ownProperties)-1+5)) + "\x11\xFF\xFF\xFF\xFF" + ownProperties[1:]
	}
	fixed, payload := body[:3], body[3:]
	if o.Will != nil {
		id := 2 + len(o.ClientID)
		payload = payload[:id] + "\x00" + payload[id:]
	}
	return fixed + properties + payload
}

// wantOnTheWire requires a CONNECT with the body want, and no other byte before CONNACK. It checks
// two successive connections.
func wantOnTheWire(t *testing.T, b *streamtest.Broker, o *stream.Options, want string) {
	t.Helper()
	want = "\x10" + string(header(len(want))[1:]) + want
	s := open(t, b, o)
	for range 2 {
		c := b.Accept()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c.Raw(), got); err != nil || string(got) != want {
			t.Fatalf("CONNECT %.100q, %v\nwant    %.100q", got, err, want)
		}
		synctest.Wait()
		c.ExpectNone()
		if n := c.Writes(); n != 1 {
			t.Errorf("CONNECT took %d writes, want 1", n)
		}
		c.SendBytes(encoded(t, o.Version, frames.Connack{}))
		up(t, s)
		c.Drop()
		lost(t, s)
	}
}
