package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/go-millrace/mqtt"
)

// pipeline publishes each line in capitals. It acks a line when the broker has acked the result, so
// every line is processed at least once. The client needs a ClientID and KeepSession. Without them
// the first lost connection ends the pipeline, and lines that come meanwhile are lost.
func pipeline(ctx context.Context, client *mqtt.Client) error {
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "lines", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}
	receipts := make(chan mqtt.Receipt, 100)
	go func() {
		for d := range sub.Deliveries() {
			shout := mqtt.Message{Topic: "shouts", Payload: bytes.ToUpper(d.Payload), QoS: mqtt.AtLeastOnce}
			select {
			case client.Publishes() <- mqtt.Publishing{Message: shout, Tag: d, Ack: receipts}:
			case <-client.Done():
			}
		}
	}()
	for {
		select {
		case r := <-receipts:
			if r.Err != nil {
				return r.Err // the line has no ack, so the broker sends it again
			}
			r.Tag.(mqtt.Delivery).Ack()
			fmt.Printf("%s\n", r.Payload)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
