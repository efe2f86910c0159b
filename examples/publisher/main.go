// Publisher publishes to three topics, at QoS 0, 1 and 2, every five seconds. It keeps up to three
// publications in flight, reconnects for ever, and prints each change of the connection.
package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

var every = demo.Interval("every", 5*time.Second, "`interval` between two rounds")

func main() { demo.Main(run, demo.Feed{}) }

func run(ctx context.Context, broker string) error {
	client, err := mqtt.Open(broker, &mqtt.Options{Window: 3, DiscardUnclaimed: true})
	if err != nil {
		return err
	}
	defer client.Close()
	var p mqtt.Publisher = client // p.Subscribe would not compile

	var printing sync.WaitGroup
	printing.Go(func() { demo.PrintStates(p.States(context.Background())) })
	printing.Go(func() {
		for r := range p.PublishFrom(context.Background(), demo.Rounds(ctx, *every, hello)) {
			if r.Err != nil {
				fmt.Println("failed   ", r.Topic, r.Err)
				continue
			}
			fmt.Printf("published %s at QoS %d, packet %d: %s\n", r.Topic, r.QoS, r.ID, r.Payload)
		}
	})

	<-ctx.Done() // Ctrl-C: Shutdown sends the accepted publications
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = p.Shutdown(grace)
	printing.Wait()
	st := p.Stats()
	fmt.Printf("finished  %d sent, %d acknowledged, %d left\n", st.Sent, st.Acknowledged, st.Queued+st.InFlight)
	return err
}

// hello returns the messages of one round.
func hello(n int) []mqtt.Message {
	return []mqtt.Message{
		{Topic: "foo/bar/baz1", QoS: mqtt.AtMostOnce, Payload: fmt.Appendf(nil, "hello world 0, round %d", n)},
		{Topic: "foo/bar/baz2", QoS: mqtt.AtLeastOnce, Payload: fmt.Appendf(nil, "hello world 1, round %d", n)},
		{Topic: "foo/bar/baz3", QoS: mqtt.ExactlyOnce, Payload: fmt.Appendf(nil, "hello world 2, round %d", n)},
	}
}
