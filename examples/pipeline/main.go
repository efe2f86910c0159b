// Pipeline receives, transforms and publishes lines, at least once from end to end.
package main

import (
	"context"
	"fmt"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

func main() { demo.Main(run, demo.Feed{Round: lines}) }

func run(ctx context.Context, broker string) error {
	client, err := mqtt.Dial(ctx, broker, &mqtt.Options{ClientID: "shouter", KeepSession: true, Window: 100})
	if err != nil {
		return err
	}
	defer client.Close()
	return pipeline(ctx, client)
}

// lines returns a round of messages for the broker in this process.
func lines(n int) []mqtt.Message {
	return []mqtt.Message{{Topic: "lines", QoS: mqtt.AtLeastOnce, Payload: fmt.Appendf(nil, "the mill turns, round %d", n)}}
}
