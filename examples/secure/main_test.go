package main

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/demo"
	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// terminate listens with TLS and passes the bytes on to addr. It returns its URL and the file of
// its certificate.
func terminate(t *testing.T, addr string) (url, ca string) {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	pass := func(dst, src net.Conn) {
		defer dst.Close()
		io.Copy(dst, src)
	}
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", addr)
			if err != nil {
				near.Close()
				continue
			}
			running.Go(func() { pass(far, near) })
			running.Go(func() { pass(near, far) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	ca = filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return "mqtts://" + l.Addr().String(), ca
}

func TestTheBirthIsPublishedOverTLSWithTheLogin(t *testing.T) {
	broker, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	url, ca := terminate(t, strings.TrimPrefix(broker.URL, "mqtt://"))
	p := exampletest.Start(t, "-broker", url, "-ca", ca, "-password", "secret")
	p.Expect(`^birth  <nil>$`)
	for _, c := range broker.Server.Clients.GetAll() {
		if name := string(c.Properties.Username); !c.Net.Inline && name != "pump-1" {
			t.Errorf("the user name at the broker is %q", name)
		}
		if will := c.Properties.Will; !c.Net.Inline && string(will.Payload) != "lost" {
			t.Errorf("the will at the broker is %q", will.Payload)
		}
	}
	if s := retained(broker); s != "online" {
		t.Errorf("the status is %q while the program runs", s)
	}
	p.Interrupt()
	if s := retained(broker); s != "offline" {
		t.Errorf("the status is %q after the program", s)
	}
}

// retained returns the status that a late subscriber receives.
func retained(broker *demo.Broker) string {
	for _, p := range broker.Server.Topics.Messages("status/pump-1") {
		return string(p.Payload)
	}
	return ""
}

func TestAnUnknownCertificateIsRejected(t *testing.T) {
	broker, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	url, _ := terminate(t, strings.TrimPrefix(broker.URL, "mqtt://"))
	p := exampletest.Start(t, "-broker", url)
	p.Expect(`^offline mqtt: .*certificate`)
	p.Interrupt()
}
