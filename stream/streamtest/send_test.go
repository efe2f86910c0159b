package streamtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"testing/synctest"

	"github.com/go-millrace/mqtt/frames"
)

func TestSendIsOneSegment(t *testing.T) {
	cl, c := linked(t)
	c.Send(frames.Connack{}, pub("a", "x", 0, 0), frames.Pingresp{})
	cl.expect(frames.Connack{}, pub("a", "x", 0, 0), frames.Pingresp{})
	if c.Reads() != 1 {
		t.Errorf("read in %d calls", c.Reads())
	}
}

func TestSendSplitIsSegmentsHoweverLateTheClientReads(t *testing.T) {
	for n, reads := range map[int]int{0: 7, 1: 7, 2: 4, 7: 1, 100: 1} {
		cl, c := linked(t)
		c.SendSplit(n, pub("a", "xy", 0, 0))
		cl.expect(pub("a", "xy", 0, 0))
		if c.Reads() != reads {
			t.Errorf("segments of %d: read in %d calls, want %d", n, c.Reads(), reads)
		}
	}
}

func TestSendDoesNotWaitForTheClient(t *testing.T) {
	cl, c := linked(t)
	big := pub("a", string(make([]byte, 10*DefaultBuffer)), 0, 0)
	c.Send(big, big)
	if c.Unread() < 20*DefaultBuffer {
		t.Errorf("%d bytes unread", c.Unread())
	}
	cl.expect(big, big)
	if c.Unread() != 0 {
		t.Errorf("%d bytes unread after all was read", c.Unread())
	}
}

func TestSendBytesSendsInvalidPackets(t *testing.T) {
	cl, c := linked(t)
	c.SendBytes([]byte("HTTP/1.1 400 Bad Request\r\n"))
	if got := read(t, cl.conn); got != "HTTP/1.1 400 Bad Request\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestConnackRefuses(t *testing.T) {
	cl, c := linked(t)
	c.Connack(false, frames.NotAuthorized)
	cl.expect(frames.Connack{Code: frames.NotAuthorized})
}

func TestWrapRunsTheScriptOverTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(t)
		raw := dial(t, b)
		go func() {
			cl := newClient(t, tls.Client(raw.conn, &tls.Config{InsecureSkipVerify: true}))
			cl.handshake().send(frames.Disconnect{})
			_ = cl.conn.Close()
		}()
		c := b.Accept()
		c.Wrap(tls.Server(c.Raw(), &tls.Config{Certificates: []tls.Certificate{certificate(t)}}))
		c.Handshake(false)
		c.ExpectDisconnect()
	})
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
