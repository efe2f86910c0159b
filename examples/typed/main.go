// Typed publishes Go values as JSON from a channel, and receives Go values on another channel.
package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

var every = demo.Interval("every", time.Second, "`interval` between two readings")

// Reading is the value that the messages carry.
type Reading struct {
	Sensor  string    `json:"sensor"`
	Celsius float64   `json:"celsius"`
	Taken   time.Time `json:"taken"`
}

func main() { demo.Main(run, demo.Feed{}) }

func run(ctx context.Context, broker string) error {
	client, err := mqtt.Dial(ctx, broker, &mqtt.Options{Window: 10})
	if err != nil {
		return err
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "readings", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}
	events := mqtt.Decode(sub, mqtt.JSON[Reading])

	var printing sync.WaitGroup
	printing.Go(func() {
		for e := range events {
			if e.Err != nil {
				fmt.Printf("received  %s: %v\n", e.Payload, e.Err)
			} else {
				fmt.Printf("received  %s: %.1f °C\n", e.Value.Sensor, e.Value.Celsius)
			}
			e.Ack() // also without a value, because a missing ack holds back all later acks
		}
	})
	printing.Go(func() {
		encode := mqtt.JSONTo[Reading]("readings", mqtt.AtLeastOnce)
		for r := range mqtt.PublishFrom(context.Background(), client, encode, demo.Rounds(ctx, *every, measure)) {
			fmt.Printf("published %s %v\n", r.Payload, r.Err)
		}
	})
	if err := client.Publish(ctx, mqtt.Message{Topic: "readings", Payload: []byte("warm")}); err != nil {
		return err
	}

	<-ctx.Done()
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = client.Shutdown(grace)
	printing.Wait()
	return err
}

// measure returns the readings of one round.
func measure(n int) []Reading {
	return []Reading{{Sensor: "kitchen", Celsius: 20 + float64(n)/2, Taken: time.Now()}}
}
