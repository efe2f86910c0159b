package mqtt_test

import (
	"context"
	"fmt"
	"time"

	"github.com/go-millrace/mqtt"
)

// Declare returns at once, also while there is no broker yet. The client asks for the filter at
// every connection.
func ExampleClient_Declare() {
	client, err := mqtt.Open(brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	sub, err := client.Declare(mqtt.Filter{Topic: "alarm/#", QoS: mqtt.ExactlyOnce})
	if err != nil {
		fmt.Println(err) // the filter is invalid, or the client has ended
		return
	}

	select {
	case <-sub.Ready():
		fmt.Println("granted:", sub.Granted(), "refused:", sub.Refused())
	case <-time.After(time.Minute):
		fmt.Println(client.State().Err) // the error of the last attempt
	}

	// Output: granted: [exactly once] refused: []
}

// A consumer that processes many messages at once receives them in batches. The Ack of a Batch
// follows the processing, so that no message is lost if the program ends in between.
func ExampleSubscription_Batches() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "meter/+", QoS: mqtt.AtLeastOnce})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for i := range 4 {
			client.Publish(ctx, mqtt.Message{Topic: fmt.Sprintf("meter/%d", i), Payload: []byte("17"), QoS: mqtt.AtLeastOnce})
		}
	}()

	for batch := range sub.Batches(4, time.Minute) { // at most 4 messages, at most a minute after the first
		fmt.Printf("one transaction for %d rows, the last from %s\n", len(batch), batch[len(batch)-1].Topic)
		batch.Ack() // after the commit of the database
		break
	}

	// Output: one transaction for 4 rows, the last from meter/3
}

// AllBatches is the fastest way to receive: no goroutine, and the payloads need no copy. They are
// valid until the next turn of the loop, which acks the Batch.
func ExampleSubscription_AllBatches() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "meter/+", QoS: mqtt.AtMostOnce})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for i := range 1000 {
			client.Publish(ctx, mqtt.Message{Topic: fmt.Sprintf("meter/%d", i), Payload: []byte("17")})
		}
	}()

	messages, bytes := 0, 0
	for batch, err := range sub.AllBatches(ctx, 256) {
		if err != nil {
			fmt.Println(err) // ctx or the client has ended
			return
		}
		for _, d := range batch {
			messages++
			bytes += len(d.Payload)
		}
		if messages == 1000 {
			break
		}
	}
	fmt.Println(messages, "messages with", bytes, "bytes")

	// Output: 1000 messages with 2000 bytes
}

// Requeue puts a message back for later, and other messages go on meanwhile.
func ExampleDelivery_requeue() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "job/+", QoS: mqtt.AtLeastOnce})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, job := range []string{"job/print", "job/scan"} {
		if err := client.Publish(ctx, mqtt.Message{Topic: job, QoS: mqtt.AtLeastOnce}); err != nil {
			fmt.Println(err)
			return
		}
	}

	paper, done := false, 0
	for d := range sub.Deliveries() {
		if d.Topic == "job/print" && !paper {
			fmt.Println(d.Topic, "waits for paper")
			d.Requeue(50 * time.Millisecond)
			paper = true
			continue
		}
		fmt.Println(d.Topic, "is done")
		d.Ack()
		if done++; done == 2 {
			break
		}
	}

	// Output:
	// job/print waits for paper
	// job/scan is done
	// job/print is done
}

// Drain ends a Subscription, and loses none of the messages that have arrived.
func ExampleSubscription_Drain() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "level", QoS: mqtt.AtLeastOnce})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, level := range []string{"4.2", "4.3"} {
		if err := client.Publish(ctx, mqtt.Message{Topic: "level", Payload: []byte(level), QoS: mqtt.AtLeastOnce}); err != nil {
			fmt.Println(err)
			return
		}
	}

	drained := make(chan error, 1)
	go func() { drained <- sub.Drain(ctx) }()
	for d, err := range sub.All(ctx) { // ends after the last message
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("level %s\n", d.Payload)
	}
	fmt.Println("drained:", <-drained)

	// Output:
	// level 4.2
	// level 4.3
	// drained: <nil>
}
