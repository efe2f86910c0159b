package mqtt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/flow/logstore"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// Publish returns when the exchange of the QoS is complete. Its error tells the fate of the
// message.
func ExampleClient_Publish() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	once, cancel := context.WithTimeout(ctx, 10*time.Second) // bounds the wait, also for a connection
	defer cancel()
	err = client.Publish(once, mqtt.Message{Topic: "level", Payload: []byte("4.2"), QoS: mqtt.ExactlyOnce})
	switch {
	case err == nil:
		fmt.Println("the broker has it")
	case errors.Is(err, mqtt.ErrNotSent):
		fmt.Println("it was not sent; trying again can help:", mqtt.Retryable(err))
	case errors.Is(err, mqtt.ErrUnconfirmed):
		fmt.Println("it may have arrived")
	default:
		fmt.Println(err) // for example mqtt.ErrRefused
	}

	// Output: the broker has it
}

// Retryable tells whether it is useful to try a failed call again.
func ExampleRetryable() {
	client, err := mqtt.Open(brokerURL, &mqtt.Options{DialContext: noBroker})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	err = client.Publish(ctx, mqtt.Message{Topic: "level", Payload: []byte("4.2")})
	fmt.Println("offline:", mqtt.Retryable(err))
	err = client.Publish(ctx, mqtt.Message{Topic: "level/#", Payload: []byte("4.2")})
	fmt.Println("wildcard in a topic:", mqtt.Retryable(err))

	// Output:
	// offline: true
	// wildcard in a topic: false
}

// A Store on disk keeps the session when the process ends. The first client accepts a message while
// there is no broker. The second client, perhaps in the next process, sends it.
func ExampleStore() {
	folder, err := os.MkdirTemp("", "session")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	run := func(dial func(context.Context, string, string) (net.Conn, error), work func(context.Context, *mqtt.Client) error) error {
		store, err := logstore.Open(folder, nil)
		if err != nil {
			return err
		}
		defer store.Close()
		client, err := mqtt.Open(brokerURL, &mqtt.Options{ClientID: "gauge", KeepSession: true, Store: store, DialContext: dial})
		if err != nil {
			return err
		}
		defer client.Close()
		return work(context.Background(), client)
	}

	err = run(noBroker, func(ctx context.Context, client *mqtt.Client) error {
		client.Publishes() <- mqtt.Publishing{Message: mqtt.Message{Topic: "level", Payload: []byte("4.2"), QoS: mqtt.AtLeastOnce}}
		return client.Sync(ctx) // now the message is on disk: even a killed process does not lose it
	})
	fmt.Println("on disk:", err)
	err = run(dialBroker, func(ctx context.Context, client *mqtt.Client) error {
		err := client.Flush(ctx) // waits until it has ended; Options.Ack would get the Receipt
		fmt.Println("acknowledged:", client.Stats().Acknowledged)
		return err
	})
	fmt.Println("sent:", err)

	// Output:
	// on disk: <nil>
	// acknowledged: 1
	// sent: <nil>
}

// A broker of MQTT 3.1.1 that cannot process a message closes the connection, and closes each new
// connection when the message is sent again. GiveUp ends the repetition.
func ExampleOptions_giveUp() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, &mqtt.Options{
		Version:     mqtt.V311,
		ClientID:    "gauge",
		KeepSession: true,
		GiveUp:      3,
		Reconnect:   &backoff.Backoff{Min: time.Millisecond}, // so that the example is quick
		DialContext: dialSmallBroker,                         // closes the connection at a payload of 1,000 bytes
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	err = client.Publish(ctx, mqtt.Message{Topic: "picture", Payload: make([]byte, 1000), QoS: mqtt.AtLeastOnce})
	var poison *mqtt.PoisonError
	if errors.As(err, &poison) {
		fmt.Printf("given up after %d closes: topic %s\n", poison.Closes, poison.Topic)
	}
	err = client.Publish(ctx, mqtt.Message{Topic: "level", Payload: []byte("4.2"), QoS: mqtt.AtLeastOnce})
	fmt.Println("the next one:", err)

	// Output:
	// given up after 3 closes: topic picture
	// the next one: <nil>
}

// An Observer sees single events, for logs, metrics and traces.
func ExampleObserver() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, &mqtt.Options{
		DialContext: dialBroker,
		Observer: &mqtt.Observer{ // its functions must not block
			Attempt: func(a mqtt.Attempted) {
				fmt.Printf("attempt %d: %v\n", a.Number, a.Err)
			},
			Published: func(row []mqtt.Published) {
				for _, p := range row {
					fmt.Printf("published to %s: %v, in time: %v\n", p.Topic, p.Err, p.Took < time.Minute)
				}
			},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	if err := client.Publish(ctx, mqtt.Message{Topic: "level", Payload: []byte("4.2"), QoS: mqtt.AtLeastOnce}); err != nil {
		fmt.Println(err)
	}

	// Output:
	// attempt 1: <nil>
	// published to level: <nil>, in time: true
}

// Timings are histograms of durations. Recording begins with the first call.
func ExampleClient_Timings() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	var t mqtt.Timings
	client.Timings(&t)
	for range 10 {
		if err := client.Publish(ctx, mqtt.Message{Topic: "level", Payload: []byte("4.2"), QoS: mqtt.AtLeastOnce}); err != nil {
			fmt.Println(err)
			return
		}
	}
	client.Timings(&t)
	acked := &t.Published[mqtt.AtLeastOnce]
	fmt.Println(acked.Count, "publications; 99 of 100 took less than a minute:", acked.Quantile(0.99) < time.Minute)

	// Output: 10 publications; 99 of 100 took less than a minute: true
}

func noBroker(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no broker") }

// dialSmallBroker connects to a broker that cannot take a payload of 1,000 bytes.
func dialSmallBroker(context.Context, string, string) (net.Conn, error) {
	client, server := streamtest.Pipe(-1)
	go broker.Serve(smallConn{server})
	return client, nil
}

type smallConn struct{ net.Conn }

func (c smallConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if bytes.Contains(p[:n], make([]byte, 1000)) {
		return 0, io.EOF
	}
	return n, err
}
