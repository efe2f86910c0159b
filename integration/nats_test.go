package integration

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	nats "github.com/nats-io/nats-server/v2/server"
)

// startNATS starts NATS servers with JetStream, which MQTT requires. A server has only one MQTT
// port, so each kind of TLS needs a separate server.
func startNATS(t *testing.T, s setup) *broker {
	t.Helper()
	b := &broker{name: "NATS", version: nats.VERSION}
	plain := runNATS(t, s, nil)
	b.url = fmt.Sprintf("mqtt://127.0.0.1:%d", plain.MQTT.Port)
	if s.webSocket {
		b.wsURL = fmt.Sprintf("ws://127.0.0.1:%d/mqtt", plain.Websocket.Port)
	}
	if s.cert == nil {
		return b
	}
	secure := runNATS(t, s, s.cert.server())
	b.tlsURL = fmt.Sprintf("mqtts://127.0.0.1:%d", secure.MQTT.Port)
	if s.webSocket {
		b.wssURL = fmt.Sprintf("wss://127.0.0.1:%d/mqtt", secure.Websocket.Port)
	}
	if s.clients != nil {
		mutual := runNATS(t, s, s.cert.serverFor(s.clients))
		b.mutualURL = fmt.Sprintf("mqtts://127.0.0.1:%d", mutual.MQTT.Port)
	}
	return b
}

// runNATS runs a server until the end of the test and returns its options, which include the ports.
func runNATS(t *testing.T, s setup, c *tls.Config) *nats.Options {
	t.Helper()
	const anyPort = -1
	o := &nats.Options{
		ServerName: "millrace",
		Host:       "127.0.0.1",
		Port:       anyPort,
		Username:   s.user,
		Password:   s.password,
		NoLog:      true,
		NoSigs:     true,
		JetStream:  true,
		StoreDir:   t.TempDir(),
		MQTT: nats.MQTTOpts{
			Host:      "127.0.0.1",
			Port:      anyPort,
			TLSConfig: c,
			AckWait:   2 * time.Second, // time until redelivery; the default is 30 s
		},
	}
	if s.webSocket {
		o.Websocket = nats.WebsocketOpts{Host: "127.0.0.1", Port: anyPort, NoTLS: c == nil, TLSConfig: c}
	}
	server, err := nats.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(func() {
		server.Shutdown()
		server.WaitForShutdown()
	})
	if !server.ReadyForConnections(patience) {
		t.Fatal("NATS is not listening")
	}
	return o
}
