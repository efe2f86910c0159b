// Selectloop receives and publishes in one select loop, together with a ticker and a context.
package main

import (
	"context"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

func main() { demo.Main(run, demo.Feed{Round: commands}) }

func run(ctx context.Context, broker string) error {
	client, err := mqtt.Dial(ctx, broker, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	return selectLoop(ctx, client)
}

// commands returns the messages that the broker in this process publishes in one round.
func commands(n int) []mqtt.Message {
	return []mqtt.Message{{Topic: "lamp/set", QoS: mqtt.ExactlyOnce, Payload: []byte([...]string{"off", "on"}[n%2])}}
}
