package main

import (
	"context"
	"fmt"
	"github.com/go-millrace/mqtt"
)

// rangeLoop prints temperatures until ctx ends.
func rangeLoop(ctx context.Context, broker string) error {
	client, err := mqtt.Dial(ctx, broker, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "plant/+/temperature", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}
	for d, err := range sub.All(ctx) {
		if err != nil {
			return err // ctx or the client has ended
		}
		fmt.Printf("%s: %s\n", d.Topic, d.Payload)
	} // each turn of the loop acknowledges the message of the turn before
	return nil
}
