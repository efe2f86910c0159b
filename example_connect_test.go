package mqtt_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http/httptest"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A client with TLS and a login. Without Options.TLS the broker needs a certificate that the system
// trusts.
func ExampleDial_tls() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, "mqtts://example.com", &mqtt.Options{
		Username:    "pump-1",
		Password:    []byte("secret"),
		TLS:         &tls.Config{RootCAs: certificates}, // the CA of your company
		DialContext: dialTLSBroker,                      // leave this out: here the broker is in this process
	})
	if err != nil {
		fmt.Println(err) // for example a *mqtt.ConnectError that wraps mqtt.NotAuthorized
		return
	}
	defer client.Close()
	state := client.State()
	fmt.Printf("online at %s, MQTT %v\n", state.Endpoint, state.Version)

	// Output: online at mqtts://example.com:8883, MQTT 5
}

// Prepare is called before each dial, so that each connection gets a fresh token.
func ExampleOptions_prepare() {
	issued := 0
	fetchToken := func(context.Context) ([]byte, error) { // a program asks its identity provider
		issued++
		return fmt.Appendf(nil, "token %d", issued), nil
	}

	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, &mqtt.Options{
		DialContext: dialBroker,
		Prepare: func(ctx context.Context, a *mqtt.Attempt) error {
			token, err := fetchToken(ctx)
			a.Username, a.Password = "pump-1", token
			fmt.Printf("attempt %d with %s\n", a.Number, a.Password)
			return err
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client.Close()

	// Output: attempt 1 with token 1
}

// The broker publishes the will when the connection breaks. The program publishes the birth at each
// new connection, and "offline" at its end, since the broker drops the will at a DISCONNECT. All
// are retained, so that a late subscriber sees the present status.
func ExampleOptions_will() {
	ctx := context.Background()
	watch, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer watch.Close()
	status, err := watch.Subscribe(ctx, mqtt.Filter{Topic: "status/+", QoS: mqtt.AtLeastOnce})
	if err != nil {
		fmt.Println(err)
		return
	}

	message := func(s string) mqtt.Message {
		return mqtt.Message{Topic: "status/pump-1", Payload: []byte(s), QoS: mqtt.AtLeastOnce, Retain: true}
	}
	will := message("lost")
	client, err := mqtt.Open(brokerURL, &mqtt.Options{Will: &will, DialContext: dialBroker})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	go func() {
		for s := range client.States(ctx) { // until the client ends
			if s.Online {
				_ = client.Publish(ctx, message("online"))
			}
		}
	}()
	m := <-status.Messages()
	fmt.Printf("%s is %s\n", m.Topic, m.Payload)
	if err := client.Publish(ctx, message("offline")); err != nil {
		fmt.Println(err)
		return
	}
	client.Close()
	m = <-status.Messages()
	fmt.Printf("%s is %s\n", m.Topic, m.Payload)

	// Output:
	// status/pump-1 is online
	// status/pump-1 is offline
}

// States sends each new State of the connection to a program that shows it.
func ExampleClient_States() {
	client, err := mqtt.Open(brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	for s := range client.States(context.Background()) {
		if s.Online {
			fmt.Printf("online at MQTT %v\n", s.Version)
			client.Close() // ends the loop
		}
	}

	// Output: online at MQTT 5
}

// At the end of a program, Shutdown completes the publications and sends the acks.
func ExampleClient_Shutdown() {
	ctx, interrupt := context.WithCancel(context.Background()) // a program uses signal.NotifyContext
	defer interrupt()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "level", QoS: mqtt.AtLeastOnce})
	if err != nil {
		fmt.Println(err)
		return
	}
	client.Publishes() <- mqtt.Publishing{Message: mqtt.Message{Topic: "level", Payload: []byte("4.2"), QoS: mqtt.AtLeastOnce}}

	for deliveries := sub.Deliveries(); ; {
		select {
		case d, ok := <-deliveries:
			if !ok {
				fmt.Println(client.Err()) // the reason for the end
				return
			}
			fmt.Printf("level %s\n", d.Payload)
			d.Ack()
			interrupt() // as Ctrl-C does
		case <-ctx.Done():
			grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			fmt.Println("shutdown:", client.Shutdown(grace))
			return
		}
	}

	// Output:
	// level 4.2
	// shutdown: <nil>
}

// certificates has the certificate of the broker behind dialTLSBroker, and tlsConfig its key too.
var certificates, tlsConfig = func() (*x509.CertPool, *tls.Config) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return pool, &tls.Config{Certificates: server.TLS.Certificates}
}()

func dialTLSBroker(context.Context, string, string) (net.Conn, error) {
	client, server := streamtest.Pipe(-1)
	go broker.Serve(tls.Server(server, tlsConfig))
	return client, nil
}
