package main

import (
	"context"
	"fmt"
	"github.com/go-millrace/mqtt"
	"time"
)

// selectLoop switches a lamp and sends a heartbeat until ctx ends.
func selectLoop(ctx context.Context, broker string) error {
	client, err := mqtt.Dial(ctx, broker, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "lamp/set", QoS: mqtt.ExactlyOnce})
	if err != nil {
		return err
	}

	commands, ticks, receipts := sub.Messages(), time.Tick(time.Second), make(chan mqtt.Receipt, 1)
	var publishes chan<- mqtt.Publishing // nil while there is nothing to publish
	beat := mqtt.Publishing{Message: mqtt.Message{Topic: "lamp/alive", QoS: mqtt.AtLeastOnce}, Ack: receipts}
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
