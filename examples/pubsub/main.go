// Pubsub publishes to three topics, at QoS 0, 1 and 2, every two seconds, and receives the messages
// over the same connection. It keeps up to three publications in flight, reconnects for ever, and
// prints each change of the connection, the version of MQTT in use, and every ten seconds a line of
// figures. With -cut 10s the broker in this process cuts each connection after ten seconds, and
// pubsub prints which parts of the session it restores.
package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

var (
	every   = demo.Interval("every", 2*time.Second, "`interval` between two rounds")
	figures = demo.Interval("figures", 10*time.Second, "`interval` between two lines of figures")
	cut     = demo.Time("cut", 0, "`time` after which the broker in this process cuts each connection; 0 is never")
	version = demo.Count("version", 0, 0, 5, "protocol `level`: 3, 4 or 5; 0 is 5, or 4 if the broker does not know 5")
)

var topics = []mqtt.Filter{
	{Topic: "foo/bar/baz1", QoS: mqtt.AtMostOnce},
	{Topic: "foo/bar/baz2", QoS: mqtt.AtLeastOnce},
	{Topic: "foo/bar/baz3", QoS: mqtt.ExactlyOnce},
}

func main() { demo.Main(run, demo.Feed{Cut: cut}) }

func run(ctx context.Context, broker string) error {
	options := &mqtt.Options{Window: 3, Version: mqtt.Version(*version)}
	if options.Version == mqtt.V31 { // which has no empty client identifier
		options.ClientID = "pubsub"
	}
	if *cut > 0 { // the session and its publications in flight outlive a connection
		options.ClientID, options.KeepSession = "pubsub", true
	}
	client, err := mqtt.Open(broker, options)
	if err != nil {
		return err
	}
	defer client.Close()

	// When the client ends, it closes the channel of each loop, and the loop ends too.
	var printing sync.WaitGroup
	printing.Go(func() { printStates(client) })
	printing.Go(func() { printFigures(client) })
	sub, err := client.Subscribe(ctx, topics...)
	if err != nil {
		return err
	}
	printing.Go(func() {
		for m := range sub.Messages() {
			fmt.Printf("received  %s at QoS %d: %s\n", m.Topic, m.QoS, m.Payload)
		}
	})
	printing.Go(func() {
		for r := range client.PublishFrom(context.Background(), demo.Rounds(ctx, *every, hello)) {
			if r.Err != nil {
				fmt.Println("failed   ", r.Topic, r.Err)
				continue
			}
			fmt.Printf("receipt   %s at QoS %d, packet %d: %s\n", r.Topic, r.QoS, r.ID, r.Payload)
		}
	})

	<-ctx.Done() // Ctrl-C: Shutdown sends the accepted publications and the acks of received messages
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = client.Shutdown(grace)
	printing.Wait()
	st := client.Stats()
	note := ""
	if *cut > 0 {
		note = " (a cut loses messages at QoS 0)"
	}
	fmt.Printf("finished  %d sent, %d acknowledged, %d left; %d received, %d unacknowledged%s\n",
		st.Sent, st.Acknowledged, st.Queued+st.InFlight, st.Received, st.Unacked, note)
	return err
}

// hello returns the messages of one round.
func hello(n int) (round []mqtt.Message) {
	for _, t := range topics {
		round = append(round, mqtt.Message{Topic: t.Topic, QoS: t.QoS, Payload: fmt.Appendf(nil, "hello world %d, round %d", t.QoS, n)})
	}
	return round
}
