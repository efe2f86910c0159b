// Traces publishes and receives messages, and prints the spans of each message. OpenTelemetry joins
// them to one trace: the measurement, the publication, the delivery and its processing. Run it in
// its folder:
//
//	GOWORK=off go run . -broker mqtt://broker.example
//
// On MQTT 5 the trace context travels in the message, so publisher and consumer may be two
// processes. With -version 4 messages carry no context, and their spans belong to several traces.
//
// With -otlp the program does not print the spans. It exports them, and the metrics of the client,
// to a collector, by OTLP over HTTP:
//
//	GOWORK=off go run . -otlp http://localhost:4318
//
// The environment variables of OpenTelemetry set the rest, such as OTEL_SERVICE_NAME,
// OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_COMPRESSION and OTEL_METRIC_EXPORT_INTERVAL (60
// seconds by default). While the collector cannot be reached, the program goes on.
//
// The program is a module of its own, because it requires the SDK of OpenTelemetry and its
// exporters.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
	mqttotel "github.com/go-millrace/mqtt/stream/otel"
)

var (
	every   = demo.Interval("every", 2*time.Second, "`interval` between two messages")
	otlp    = flag.String("otlp", "", "`URL` of a collector for spans and metrics; without it the spans are printed")
	version = demo.Count("version", 0, 0, 5, "protocol `level`: 4 or 5; 0 is 5, or 4 if the broker does not know 5")
)

func main() { demo.Main(run, demo.Feed{}) }

// grace is the time for the end of the client, and then for the last spans and metrics.
const grace = 5 * time.Second

func run(ctx context.Context, broker string) (err error) {
	t, err := newTelemetry(ctx, *otlp)
	if err != nil {
		return err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		t.shutdown(ending)
	}()
	tracing := mqttotel.NewTracing(&mqttotel.TracingOptions{TracerProvider: t.tracers})
	client, err := mqtt.Open(broker, &mqtt.Options{Version: mqtt.Version(*version), Observer: tracing.Observer()})
	if err != nil {
		return err
	}
	defer func() { // first, since the end of the client makes spans
		ending, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		err = errors.Join(err, client.Shutdown(ending))
	}()
	if err := t.watch(client); err != nil {
		return err
	}

	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "demo/#", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}
	fmt.Println("connected with MQTT version", client.State().Version)
	tracer := t.tracers.Tracer("traces")
	received := sub.Deliveries()
	measure := time.NewTicker(*every)
	defer measure.Stop()
	for {
		select {
		case <-measure.C:
			if err := publish(ctx, client, tracing, tracer); err != nil {
				return err
			}
		case d, ok := <-received:
			if !ok {
				return client.Err() // the client has ended by itself
			}
			_, span := tracing.Process(ctx, d.Message)
			d.Ack()
			span.End()
		case <-ctx.Done():
			return nil
		}
	}
}

// publish publishes a message within the span measure. The message carries the trace context.
func publish(ctx context.Context, client *mqtt.Client, tracing *mqttotel.Tracing, tracer trace.Tracer) error {
	ctx, span := tracer.Start(ctx, "measure")
	defer span.End()
	m := mqtt.Message{Topic: "demo/level", QoS: mqtt.AtLeastOnce, Payload: []byte("4.2")}
	tracing.Inject(ctx, client.State().Version, &m)
	if err := client.Publish(ctx, m); err != nil && ctx.Err() == nil {
		fmt.Println("failed   ", err)
	}
	return client.Err()
}
