package main

import (
	"context"
	"log"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/flow/logstore"
)

func main() {
	if err := run(context.Background(), "mqtt://localhost:1883", "session"); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, broker, folder string) error {
	store, err := logstore.Open(folder, nil) // one process at a time
	if err != nil {
		return err
	}
	defer store.Close()
	client, err := mqtt.Open(broker, &mqtt.Options{
		ClientID: "pump-1", KeepSession: true, Store: store, Window: 20,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	reading := mqtt.Message{Topic: "pump/1/flow", Payload: []byte("17"), QoS: mqtt.ExactlyOnce}
	client.Publishes() <- mqtt.Publishing{Message: reading}
	if err := client.Sync(ctx); err != nil {
		return err
	}
	// Now the reading is on disk, and kill -9 does not lose it. Flush waits until the broker has
	// acknowledged this reading and all readings of earlier processes.
	return client.Flush(ctx)
}
