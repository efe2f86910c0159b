// Secure connects to a broker with a login, and with TLS unless the broker is in this process. It
// has a will and a birth message.
//
//	secure -broker mqtts://broker.example -password secret -ca company.pem
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

var (
	password = flag.String("password", "", "`password` of the user pump-1")
	ca       = flag.String("ca", "", "PEM `file` of the CA; empty: the CAs of the system")
)

func main() { demo.Main(run, demo.Feed{}) }

func run(ctx context.Context, broker string) error {
	if *ca == "" {
		return secure(ctx, broker, *password, nil)
	}
	pem, err := os.ReadFile(*ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s has no certificate", *ca)
	}
	return secure(ctx, broker, *password, &tls.Config{RootCAs: roots})
}

// secure keeps "online" as the status until ctx ends. At each new connection it publishes the birth
// message. The broker replaces that by the will when the connection breaks.
func secure(ctx context.Context, broker, password string, conf *tls.Config) error {
	status := mqtt.Message{Topic: "status/pump-1", QoS: mqtt.AtLeastOnce, Retain: true}
	birth, will := status, status
	birth.Payload, will.Payload = []byte("online"), []byte("lost")
	client, err := mqtt.Open(broker, &mqtt.Options{ // mqtts://broker.example:8883
		Username: "pump-1", Password: []byte(password),
		TLS:  conf, // nil trusts the certificates of the system
		Will: &will,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	for s := range client.States(ctx) { // until ctx or the client ends
		if s.Online {
			fmt.Println("birth ", client.Publish(ctx, birth))
		} else if s.Err != nil {
			fmt.Println("offline", s.Err) // a wrong login is mqtt.BadUserNameOrPassword
		}
	}
	return nil
}
