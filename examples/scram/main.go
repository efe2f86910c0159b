// Scram authenticates with SCRAM-SHA-256: the password never goes over the network, and the broker
// proves that it knows the password too. It needs a broker with enhanced authentication of MQTT 5:
//
//	MQTT_PASSWORD=secret go run ./examples/scram -broker mqtts://broker.example -user ann
//
// Every hour it authenticates anew on the live connection.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/go-millrace/mqtt"
)

func main() {
	broker := flag.String("broker", "mqtt://localhost", "`URL` of the broker")
	user := flag.String("user", "ann", "`name` of the user; the password is in MQTT_PASSWORD")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *broker, *user, os.Getenv("MQTT_PASSWORD")); err != nil {
		fmt.Fprintln(os.Stderr, "scram:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, broker, user, password string) error {
	client, err := mqtt.Dial(ctx, broker, &mqtt.Options{
		V5: mqtt.OptionsV5{Authenticate: Authenticate(user, password, time.Hour)},
	})
	if err != nil {
		return err
	}
	defer client.Close()
	fmt.Println("authenticated with", client.State().Server.AuthMethod)
	<-ctx.Done()
	return client.Close()
}
