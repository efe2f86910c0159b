package main

import (
	"context"
	"fmt"
	"github.com/go-millrace/mqtt"
	"time"
)

// selectLoop switches a lamp and sends a heartbeat until ctx ends.
func selectLoop(ctx context.Context, client *mqtt.Client) error {
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "lamp/set", QoS: mqtt.ExactlyOnce})
	if err != nil {
		return err
	}
	commands, ticks := sub.Messages(), time.Tick(time.Second)
	receipts := make(chan mqtt.Receipt, 1)
	var publishes chan<- mqtt.Publishing // nil while there is nothing to publish
	beat := mqtt.Publishing{Ack: receipts}
	beat.Topic, beat.QoS = "lamp/alive", mqtt.AtLeastOnce
	for {
		select {
		case m, ok := <-commands:
			if !ok {
				return client.Err()
			}
			fmt.Println("lamp", string(m.Payload))
		case now := <-ticks:
			beat.Payload = now.AppendFormat(nil, time.TimeOnly)
			publishes = client.Publishes()
		case publishes <- beat:
			publishes = nil
		case r := <-receipts:
			fmt.Println("heartbeat", string(r.Payload), r.Err)
		case <-ctx.Done():
			return nil
		}
	}
}
