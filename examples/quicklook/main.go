package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/go-millrace/mqtt"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) // Ctrl-C
	defer stop()
	if err := run(ctx, "mqtt://localhost:1883"); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, broker string) error {
	client, err := mqtt.Dial(ctx, broker, nil) // from now on it reconnects by itself
	if err != nil {
		return err
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "plant/+/temp", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}
	reading := mqtt.Message{Topic: "plant/1/temp", Payload: []byte("61"), QoS: mqtt.AtLeastOnce}
	if err := client.Publish(ctx, reading); err != nil {
		return err // nil means that the broker has the message
	}
	for d, err := range sub.All(ctx) { // asking for the next message acks the one before
		if err != nil {
			break // Ctrl-C, or the client has failed
		}
		fmt.Printf("%s: %s\n", d.Topic, d.Payload)
	}
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(client.Err(), client.Shutdown(grace)) // completes publications and acks
}
