// Metrics publishes and receives messages and serves the figures of its client to Prometheus. Run
// it in its folder and open the address that it prints:
//
//	GOWORK=off go run . -broker mqtt://broker.example -listen :9642
//
// Besides the client, the page has the figures of the Go runtime and of the process. For native
// histograms, set scrape_native_histograms in the configuration of Prometheus; without it,
// Prometheus scrapes the classic buckets. Useful queries:
//
//	rate(millrace_publications_acknowledged_total[1m])
//	millrace_oldest_unacked_age_seconds > 30
//	histogram_quantile(0.99, rate(millrace_publish_duration_seconds[1m]))
//	increase(millrace_connections_lost_total[1h])
//
// The program is a module of its own, because it requires the library of Prometheus.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
	mqttprom "github.com/go-millrace/mqtt/stream/prometheus"
)

var (
	listen = flag.String("listen", "127.0.0.1:9642", "`address` of the HTTP server")
	every  = demo.Interval("every", time.Second, "`interval` between two messages")
)

func main() { demo.Main(run, demo.Feed{}) }

func run(ctx context.Context, broker string) error {
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	defer l.Close()
	client, err := mqtt.Open(broker, nil) // the page is served also while there is no connection
	if err != nil {
		return err
	}
	defer client.Close()

	registry := prometheus.NewRegistry()
	registry.MustRegister(
		mqttprom.New(client, prometheus.Labels{"client": "demo"}),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	fmt.Printf("serving   http://%s/metrics\n", l.Addr())

	err = traffic(ctx, client, failed)
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(err, server.Shutdown(grace), client.Shutdown(grace))
}

// traffic publishes and receives until ctx ends or the server fails.
func traffic(ctx context.Context, client *mqtt.Client, failed <-chan error) error {
	sub, err := client.Declare(mqtt.Filter{Topic: "demo/#", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}
	received := sub.Deliveries()
	receipts := client.PublishFrom(ctx, demo.Rounds(ctx, *every, round))
	for {
		select {
		case d, ok := <-received:
			if !ok {
				return client.Err() // the client has ended by itself
			}
			d.Ack()
		case r, ok := <-receipts:
			if !ok {
				return nil // ctx has ended
			}
			if r.Err != nil {
				fmt.Println("failed   ", r.Topic, r.Err)
			}
		case err := <-failed:
			return err
		}
	}
}

// round returns the message of one round.
func round(n int) []mqtt.Message {
	return []mqtt.Message{{Topic: "demo/level", QoS: mqtt.AtLeastOnce, Payload: fmt.Append(nil, n)}}
}
