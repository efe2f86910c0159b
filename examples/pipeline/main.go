// Pipeline receives lines, transforms them and publishes the results. It processes every line at
// least once.
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

// lines returns the messages that the broker in this process publishes in one round.
func lines(n int) []mqtt.Message {
	return []mqtt.Message{{Topic: "lines", QoS: mqtt.AtLeastOnce, Payload: fmt.Appendf(nil, "the mill turns, round %d", n)}}
}
