// Exporter keeps the last value of each topic and serves the values over HTTP, in the text format
// of Prometheus. Run it and open the address that it prints:
//
//	go run ./examples/exporter -broker mqtt://broker.example -filter 'plant/#' -listen :9641
//
// A payload must be a number. A message without payload removes its topic, as it removes a retained
// message from the broker. The age of a value counts from its arrival. A retained message may be
// older, so each value tells whether it was retained.
//
// Latest with PerTopic hands over only the newest message of each topic. If values change faster
// than the program reads them, the older ones are dropped, and no topic waits for another one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
)

var (
	filter = flag.String("filter", "plant/#", "topic `filter` of the values")
	listen = flag.String("listen", "127.0.0.1:9641", "`address` of the HTTP server")
	limit  = demo.Count("topics", 10_000, 1, 100_000_000, "`number` of topics that are kept; messages of others are left out and counted")
	every  = demo.Interval("every", time.Second, "`interval` at which the broker in this process publishes values")
)

func main() { demo.Main(run, demo.Feed{Round: values, Every: every}) }

// values returns the messages that the broker in this process publishes in one round.
func values(n int) []mqtt.Message {
	return []mqtt.Message{
		{Topic: "plant/boiler/temperature", QoS: mqtt.AtLeastOnce, Payload: fmt.Append(nil, 60+n%10)},
		{Topic: "plant/boiler/pressure", QoS: mqtt.AtLeastOnce, Payload: fmt.Appendf(nil, "2.%d", n%10), Retain: true},
		{Topic: "plant/door", QoS: mqtt.AtLeastOnce, Payload: []byte("open")},
	}
}

func run(ctx context.Context, broker string) error {
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	defer l.Close()
	client, err := mqtt.Open(broker, nil) // also while the broker cannot be reached
	if err != nil {
		return err
	}
	defer client.Close()
	sub, err := client.Declare(mqtt.Filter{Topic: *filter, QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}

	t := newTable(*limit)
	metrics := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		connection{client.State().Online, len(sub.Refused())}.print(w)
		t.print(w, time.Now())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", metrics)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	fmt.Printf("serving   http://%v/metrics\n", l.Addr())

	err = collect(ctx, sub, t, failed)
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = errors.Join(err, server.Shutdown(grace), client.Shutdown(grace)) // pages under way are completed
	st := client.Stats()
	fmt.Printf("finished  %d received, %d superseded\n", st.Received, st.Superseded)
	return err
}

// collect puts the messages into t until ctx or sub ends, or the server fails.
func collect(ctx context.Context, sub *mqtt.Subscription, t *table, failed <-chan error) error {
	latest := sub.Latest(mqtt.LatestOptions{PerTopic: true})
	for {
		select {
		case m, ok := <-latest:
			if !ok {
				return sub.Err()
			}
			if line := t.set(m, time.Now()); line != "" {
				fmt.Println(line)
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}
