// Traces publishes and receives messages, and prints the spans of each message. OpenTelemetry joins
// them to one trace: the measurement, the publication, the delivery and its processing. Run it in
// its folder:
//
//	GOWORK=off go run . -broker mqtt://broker.example
//
// On MQTT 5 the trace context travels in the message, so publisher and consumer may be two
// processes. With -version 4 messages carry no context, and their spans belong to several traces.
//
// A program passes its spans to a collector: replace printer with an exporter such as
// go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp. The program is a module of its
// own, because it requires the SDK of OpenTelemetry.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/demo"
	mqttotel "github.com/go-millrace/mqtt/stream/otel"
)

var (
	every   = flag.Duration("every", 2*time.Second, "`interval` between two messages")
	version = flag.Int("version", 0, "protocol `level`: 4 or 5; 0 is 5, or 4 if the broker does not know 5")
)

func main() { demo.Main(run, demo.Feed{}) }

// printer prints spans. It implements sdktrace.SpanExporter.
type printer struct{}

func (printer) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, s := range spans {
		fmt.Printf("span      %s %-8s %-8s %v\n", s.SpanContext().TraceID(), s.Name(), s.SpanKind(), s.EndTime().Sub(s.StartTime()))
	}
	return nil
}

func (printer) Shutdown(context.Context) error { return nil }

func run(ctx context.Context, broker string) (err error) {
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(printer{}, sdktrace.WithBatchTimeout(time.Second)))
	tracing := mqttotel.NewTracing(&mqttotel.TracingOptions{TracerProvider: provider})
	client, err := mqtt.Open(broker, &mqtt.Options{Version: mqtt.Version(*version), Observer: tracing.Observer()})
	if err != nil {
		return err
	}
	defer func() {
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		// The client ends first, since its end makes spans.
		err = errors.Join(err, client.Shutdown(grace), provider.Shutdown(grace))
	}()

	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "demo/#", QoS: mqtt.AtLeastOnce})
	if err != nil {
		return err
	}
	fmt.Println("connected with MQTT version", client.State().Version)
	tracer := provider.Tracer("traces")
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
