// Subscriber prints the messages of three topics, at QoS 0, 1 and 2. Whenever the connection is
// lost, it reconnects and subscribes again. It prints each change of the connection.
package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

var every = demo.Interval("every", 5*time.Second, "`interval` at which the broker in this process publishes")

// hello returns the messages that the broker in this process publishes in one round.
func hello(n int) []mqtt.Message {
	return []mqtt.Message{
		{Topic: "foo/bar/baz1", QoS: mqtt.AtMostOnce, Payload: fmt.Appendf(nil, "hello world 0, round %d", n)},
		{Topic: "foo/bar/baz2", QoS: mqtt.AtLeastOnce, Payload: fmt.Appendf(nil, "hello world 1, round %d", n)},
		{Topic: "foo/bar/baz3", QoS: mqtt.ExactlyOnce, Payload: fmt.Appendf(nil, "hello world 2, round %d", n)},
	}
}

func main() { demo.Main(run, demo.Feed{Round: hello, Every: every}) }

func run(ctx context.Context, broker string) error {
	client, err := mqtt.Open(broker, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	var s mqtt.Subscriber = client // s.Publish would not compile

	var printing sync.WaitGroup
	printing.Go(func() { demo.PrintStates(s.States(context.Background())) })

	sub, err := s.Subscribe(ctx,
		mqtt.Filter{Topic: "foo/bar/baz1", QoS: mqtt.AtMostOnce},
		mqtt.Filter{Topic: "foo/bar/baz2", QoS: mqtt.AtLeastOnce},
		mqtt.Filter{Topic: "foo/bar/baz3", QoS: mqtt.ExactlyOnce},
	)
	if err != nil {
		return err
	}
	fmt.Printf("granted   QoS %d\n", sub.Granted())
	printing.Go(func() {
		for m := range sub.Messages() {
			fmt.Printf("received  %s at QoS %d: %s\n", m.Topic, m.QoS, m.Payload)
		}
	})

	<-ctx.Done() // Ctrl-C: Shutdown sends the acks of received messages
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = s.Shutdown(grace)
	printing.Wait()
	st := s.Stats()
	fmt.Printf("finished  %d received, %d unacknowledged\n", st.Received, st.Unacked)
	return err
}
