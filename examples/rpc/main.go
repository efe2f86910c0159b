// Rpc sends requests to a responder over a broker, while connections break and brokers lose their
// sessions. Each request is answered, or ends with an error that tells why it is not. It needs MQTT
// 5.
package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

var (
	count    = demo.Count("requests", 10_000, 1, 1_000_000_000, "`number` of requests")
	troubles = demo.Count("troubles", 8, 0, 1_000_000, "`number` of times that connections break; every second time the broker is new")
	patience = demo.Interval("expiry", 3*time.Second, "`time` after which a request without a reply ends")
)

func main() { demo.Main(run, demo.Feed{}) }

func run(ctx context.Context, broker string) error {
	line, err := newLine(broker)
	if err != nil {
		return err
	}
	defer line.close()
	open := func(id string) (*mqtt.Client, error) {
		return mqtt.Open(broker, &mqtt.Options{
			Version: mqtt.V5, ClientID: id, KeepSession: true, Window: 100, Queue: 100, DialContext: line.dial,
		})
	}
	responder, err := open("responder")
	if err != nil {
		return err
	}
	defer responder.Close()
	requester, err := open("requester")
	if err != nil {
		return err
	}
	defer requester.Close()

	// Serve ends with the responder, or with ctx.
	var serving sync.WaitGroup
	defer serving.Wait()
	defer responder.Close()
	serving.Go(func() {
		err := mqtt.Serve(ctx, responder, square, mqtt.Filter{Topic: "square"})
		if err != nil && ctx.Err() == nil {
			fmt.Println("responder", err)
		}
	})
	if err := awaitResponder(ctx, requester); err != nil {
		return err
	}
	return report(ctx, line, requester.Requests(ctx, requests(ctx, requester)))
}

// awaitResponder sends requests until one is answered.
func awaitResponder(ctx context.Context, requester *mqtt.Client) error {
	for ctx.Err() == nil {
		probe, cancel := context.WithTimeout(ctx, time.Second)
		_, err := requester.Request(probe, mqtt.Message{Topic: "square", QoS: mqtt.AtLeastOnce, Payload: []byte("0")})
		if err == nil || errors.Is(err, mqtt.ErrClosed) {
			cancel()
			return err
		}
		<-probe.Done() // nobody subscribes yet, or the reply did not come
		cancel()
	}
	return ctx.Err()
}

// square answers a request with the square of its number. The broker passes requests and replies on
// at QoS 0, so that those which are on their way when a connection breaks get lost: the broker in
// this process, mochi 2.7.9, can block for ever when it sends messages at QoS 1 to a client that is
// sending too.
func square(_ context.Context, d mqtt.Delivery) (mqtt.Message, error) {
	n, err := strconv.Atoi(string(d.Payload))
	if err != nil {
		return mqtt.Message{}, err
	}
	return mqtt.Message{Payload: strconv.AppendInt(nil, int64(n*n), 10)}, nil
}

// requests returns a channel of requests, each with its number as the Tag. A broker does not tell
// when a request gets lost, so each one expires.
func requests(ctx context.Context, client *mqtt.Client) <-chan mqtt.Publishing {
	in := make(chan mqtt.Publishing)
	go func() {
		defer close(in)
		expiry := &mqtt.Properties{Expiry: *patience}
		for n := range *count {
			m := mqtt.Message{Topic: "square", QoS: mqtt.AtLeastOnce, Payload: strconv.AppendInt(nil, int64(n), 10), Properties: expiry}
			select {
			case in <- mqtt.Publishing{Message: m, Tag: n}:
			case <-ctx.Done():
				return
			case <-client.Done():
				return
			}
		}
	}()
	return in
}

// report counts the replies. It makes trouble on the line each time that another part of them has
// come.
func report(ctx context.Context, line *line, replies <-chan mqtt.Reply) error {
	var answered, lost, expired, other, ended, made int
	for r := range replies {
		switch n := r.Tag.(int); {
		case r.Err == nil && string(r.Payload) == strconv.Itoa(n*n):
			answered++
		case r.Err == nil:
			return fmt.Errorf("the reply to %d is %s", n, r.Payload)
		case errors.Is(r.Err, mqtt.ErrSessionLost):
			lost++
		case errors.Is(r.Err, mqtt.ErrExpired):
			expired++
		default:
			if other++; ctx.Err() == nil {
				fmt.Println("failed   ", r.Err)
			}
		}
		if ended++; made < *troubles && ended >= (made+1)**count/(*troubles+1) {
			made++
			if err := trouble(line, made); err != nil {
				return err
			}
		}
	}
	fmt.Printf("finished  %d requests: %d answered, %d told (%d with the session, %d expired, %d for another reason)\n",
		ended, answered, lost+expired+other, lost, expired, other)
	return ctx.Err()
}

// trouble breaks the connections, and every second time the broker too.
func trouble(line *line, n int) error {
	if n%2 == 1 {
		fmt.Println("cut       all connections")
		line.cut()
		return nil
	}
	fmt.Println("restart   the broker, which loses all sessions")
	return line.restart()
}
