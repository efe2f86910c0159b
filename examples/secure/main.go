// Secure connects to a broker with a login, and with TLS unless the broker is in this process. It
// has a will and a birth message.
//
//	go run ./examples/secure -broker mqtts://broker.example -password secret -ca company.pem
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

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

// secure keeps the retained status: "online" from each new connection on, "offline" after ctx has
// ended, and "lost", the will, which the broker publishes when the connection breaks.
func secure(ctx context.Context, broker, password string, conf *tls.Config) error {
	topic := mqtt.Message{Topic: "status/pump-1", QoS: mqtt.AtLeastOnce, Retain: true}
	status := func(s string) mqtt.Message { topic.Payload = []byte(s); return topic }
	will := status("lost")
	client, err := mqtt.Open(broker, &mqtt.Options{ // mqtts://broker.example:8883
		Username: "pump-1", Password: []byte(password), Will: &will,
		TLS: conf, // nil trusts the certificates of the system
	})
	if err != nil {
		return err
	}
	defer client.Close()
	for s := range client.States(ctx) { // until ctx or the client ends
		if s.Online {
			fmt.Println("birth ", client.Publish(ctx, status("online")))
		} else if s.Err != nil {
			fmt.Println("offline", s.Err) // wrong login: NotAuthorized or BadUserNameOrPassword
		}
	}
	if !client.State().Online {
		return client.Err() // the broker publishes the will by itself
	}
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel() // at the DISCONNECT of Shutdown the broker drops the will
	return errors.Join(client.Publish(grace, status("offline")), client.Shutdown(grace))
}
