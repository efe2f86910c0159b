package mqtt_test

import (
	"context"
	"fmt"
	"time"

	"github.com/go-millrace/mqtt"
)

// Request sends a message and waits for the reply. The responder is an ordinary consumer, which
// publishes the message that Delivery.Reply makes.
func ExampleClient_Request() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a request needs an end
	defer cancel()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "time", QoS: mqtt.AtLeastOnce})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for d := range sub.Deliveries() {
			if reply, ok := d.Reply([]byte("noon")); ok {
				client.Publish(ctx, reply)
			}
			d.Ack()
		}
	}()

	reply, err := client.Request(ctx, mqtt.Message{Topic: "time", QoS: mqtt.AtLeastOnce})
	if err != nil {
		fmt.Println(err) // mqtt.ErrNoResponder if nobody subscribes to the topic
		return
	}
	fmt.Printf("it is %s\n", reply.Payload)

	// Output: it is noon
}

// Requests is a stage of a pipeline: requests go in, and replies come out as they arrive.
func ExampleClient_Requests() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "double", QoS: mqtt.AtLeastOnce})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for d := range sub.Deliveries() {
			if reply, ok := d.Reply(append(d.Payload, d.Payload...)); ok {
				client.Publish(ctx, reply)
			}
			d.Ack()
		}
	}()

	requests := make(chan mqtt.Publishing)
	go func() {
		defer close(requests)
		for _, word := range []string{"tom", "bora"} {
			requests <- mqtt.Publishing{Message: mqtt.Message{Topic: "double", Payload: []byte(word), QoS: mqtt.AtLeastOnce}, Tag: word}
		}
	}()
	for r := range client.Requests(ctx, requests) {
		if r.Err != nil {
			fmt.Println(r.Tag, r.Err)
			continue
		}
		fmt.Printf("%v: %s\n", r.Tag, r.Payload)
	}

	// Unordered output:
	// tom: tomtom
	// bora: borabora
}

// Serve answers requests until its context or the client ends.
func ExampleServe() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	served := make(chan error, 1)
	serving, end := context.WithCancel(ctx)
	defer end()
	go func() {
		served <- mqtt.Serve(serving, client, func(_ context.Context, d mqtt.Delivery) (mqtt.Message, error) {
			return mqtt.Message{Payload: fmt.Appendf(nil, "hello %s", d.Payload)}, nil
		}, mqtt.Filter{Topic: "greet", QoS: mqtt.AtLeastOnce})
	}()

	greet := func() (mqtt.Message, error) {
		once, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return client.Request(once, mqtt.Message{Topic: "greet", Payload: []byte("you"), QoS: mqtt.AtLeastOnce})
	}
	reply, err := greet()
	for err != nil && ctx.Err() == nil { // Serve had not subscribed yet
		reply, err = greet()
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", reply.Payload)
	end()
	fmt.Println(<-served)

	// Output:
	// hello you
	// context canceled
}
