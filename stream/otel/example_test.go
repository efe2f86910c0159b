package mqttotel_test

import (
	"context"
	"errors"
	"fmt"
	"net"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-millrace/mqtt"
	mqttotel "github.com/go-millrace/mqtt/stream/otel"
)

// noBroker is the DialContext of examples that need no connection.
func noBroker(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("no broker here")
}

// The figures of a client go to a reader of the SDK. A program uses a PeriodicReader with an
// exporter.
func Example_metrics() {
	histograms := new(mqttotel.Producer)
	reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(histograms))
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))

	client, err := mqtt.Open("mqtt://broker", &mqtt.Options{DialContext: noBroker})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	histograms.Add(client)
	if _, err := mqttotel.Register(client, provider); err != nil {
		fmt.Println(err)
		return
	}

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &collected); err != nil {
		fmt.Println(err)
		return
	}
	for _, scope := range collected.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name == "messaging.client.operation.duration" || m.Name == "messaging.client.sent.messages" {
				fmt.Println(m.Name, "in", m.Unit)
			}
		}
	}

	// Output:
	// messaging.client.sent.messages in {message}
	// messaging.client.operation.duration in s
}

// The trace of the publisher goes on in the consumer, which may be in another process. A program
// uses a batching processor with an exporter. It sets Options.Observer to Tracing.Observer, and
// gets the version from Client.State.
func ExampleTracing() {
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	tracing := mqttotel.NewTracing(&mqttotel.TracingOptions{TracerProvider: provider})

	ctx, span := provider.Tracer("gauge").Start(context.Background(), "measure")
	m := mqtt.Message{Topic: "level", Payload: []byte("4.2")}
	tracing.Inject(ctx, mqtt.V5, &m) // then Publish
	span.End()

	// The consumer has received the message.
	ctx, processing := tracing.Process(context.Background(), m)
	fmt.Println("one trace:", trace.SpanContextFromContext(ctx).TraceID() == span.SpanContext().TraceID())
	processing.End()

	for _, s := range spans.GetSpans() {
		fmt.Println(s.Name, s.SpanKind)
	}

	// Output:
	// one trace: true
	// create producer
	// measure internal
	// process consumer
}
