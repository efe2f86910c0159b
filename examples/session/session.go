package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/flow/logstore"
)

// session publishes a reading. It returns nil when the broker has this reading and all readings of
// earlier processes. Without a broker it waits until ctx ends, and the log has the reason.
func session(ctx context.Context, broker, folder string) error {
	store, err := logstore.Open(folder, nil) // one process at a time
	if err != nil {
		return err
	}
	defer store.Close()
	receipts := make(chan mqtt.Receipt, 100)
	client, err := mqtt.Open(broker, &mqtt.Options{ClientID: "pump-1", KeepSession: true,
		Store: store, Window: 20, Ack: receipts, Logger: slog.Default()})
	if err != nil {
		return err
	}
	defer client.Close()
	reading := mqtt.Message{Topic: "pump/1/flow", Payload: []byte("17"), QoS: mqtt.ExactlyOnce}
	client.Publishes() <- mqtt.Publishing{Message: reading}
	if err := client.Sync(ctx); err != nil {
		return err
	}
	// Now the reading is on disk, and kill -9 does not lose it. Flush waits until no reading is
	// queued or in flight. Each Receipt tells whether the broker has accepted its reading.
	err = client.Flush(ctx)
	go func() { client.Close(); close(receipts) }() // after Close no Receipt comes
	for r := range receipts {
		err = errors.Join(err, r.Err)
	}
	return err
}
