package mqttotel_test

import (
	"context"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
	mqttotel "github.com/go-millrace/mqtt/stream/otel"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// versions runs a test for each version of the protocol.
func versions(t *testing.T, test func(*testing.T, mqtt.Version)) {
	for name, v := range map[string]mqtt.Version{"3.1.1": mqtt.V311, "5": mqtt.V5} {
		t.Run(name, func(t *testing.T) { test(t, v) })
	}
}

// open returns a client of a scripted broker. It must run in a bubble.
func open(t *testing.T, v mqtt.Version, observer *mqtt.Observer) (*mqtt.Client, *streamtest.Broker) {
	t.Helper()
	b := streamtest.New(t)
	client, err := mqtt.Open("mqtt://broker:1884", &mqtt.Options{Version: v, DialContext: b.Dial, Observer: observer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client, b
}

// collect returns the metrics that a reader collects, by name.
func collect(t *testing.T, r *sdkmetric.ManualReader) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]metricdata.Metrics{}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			got[m.Name] = m
		}
	}
	return got
}

// A traced client has a Tracing whose spans are kept in memory.
type traced struct {
	*mqttotel.Tracing
	*mqtt.Client
	broker   *streamtest.Broker
	provider *sdktrace.TracerProvider
	spans    *tracetest.InMemoryExporter
}

func openTraced(t *testing.T, v mqtt.Version, o mqttotel.TracingOptions) *traced {
	t.Helper()
	c := &traced{spans: tracetest.NewInMemoryExporter()}
	c.provider = sdktrace.NewTracerProvider(sdktrace.WithSyncer(c.spans))
	t.Cleanup(func() { c.provider.Shutdown(context.Background()) })
	o.TracerProvider = c.provider
	c.Tracing = mqttotel.NewTracing(&o)
	c.Client, c.broker = open(t, v, c.Tracing.Observer())
	return c
}

// named returns the spans with a name that have ended.
func (c *traced) named(name string) (spans tracetest.SpanStubs) {
	for _, s := range c.spans.GetSpans() {
		if s.Name == name {
			spans = append(spans, s)
		}
	}
	return spans
}

// one returns the only span with a name that has ended.
func (c *traced) one(t *testing.T, name string) tracetest.SpanStub {
	t.Helper()
	spans := c.named(name)
	if len(spans) != 1 {
		t.Fatalf("%d spans %s, want 1", len(spans), name)
	}
	return spans[0]
}

// publish publishes a message and answers it. It returns the packet.
func publish(t *testing.T, client *mqtt.Client, c *streamtest.Conn, m mqtt.Message, answer func(frames.Publish)) frames.Publish {
	t.Helper()
	published := make(chan error, 1)
	go func() { published <- client.Publish(context.Background(), m) }()
	p := streamtest.Next[frames.Publish](c)
	answer(p)
	if err := <-published; err != nil {
		t.Log("Publish:", err)
	}
	return p
}
