package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"

	"github.com/go-millrace/mqtt"
	mqttotel "github.com/go-millrace/mqtt/stream/otel"
)

// A telemetry makes spans and metrics, and passes them on until it is shut down.
type telemetry struct {
	tracers    *sdktrace.TracerProvider
	meters     *sdkmetric.MeterProvider
	histograms *mqttotel.Producer

	outage outage
	end    func(context.Context) // ends exports that are under way, and the connections
}

// newTelemetry returns a telemetry that exports to a collector, or prints if the URL is empty.
func newTelemetry(ctx context.Context, collector string) (*telemetry, error) {
	if collector == "" {
		return newPrinter(), nil
	}
	t, err := newExport(ctx, collector)
	if err != nil {
		return nil, fmt.Errorf("-otlp: %w", err)
	}
	return t, nil
}

// newPrinter returns a telemetry that prints spans. Its metrics have no reader, so nothing collects
// them.
func newPrinter() *telemetry {
	return &telemetry{
		tracers:    sdktrace.NewTracerProvider(sdktrace.WithBatcher(printer{}, sdktrace.WithBatchTimeout(time.Second))),
		meters:     sdkmetric.NewMeterProvider(),
		histograms: new(mqttotel.Producer),
		end:        func(context.Context) {},
	}
}

// newExport returns a telemetry that exports spans and metrics to a collector. The first export
// makes the connection, so the collector may start later.
func newExport(ctx context.Context, collector string) (*telemetry, error) {
	base, err := parseCollector(collector)
	if err != nil {
		return nil, err
	}
	// Nothing closes the idle connections of the exporters' own transports.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	client := &http.Client{Transport: transport}
	spans, err := otlptracehttp.New(ctx, otlptracehttp.WithHTTPClient(client),
		otlptracehttp.WithEndpointURL(base.JoinPath("v1/traces").String()))
	if err != nil {
		return nil, err
	}
	metrics, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithHTTPClient(client),
		otlpmetrichttp.WithEndpointURL(base.JoinPath("v1/metrics").String()))
	if err != nil {
		return nil, err
	}
	// The environment comes last, so OTEL_SERVICE_NAME wins.
	program, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("traces")), resource.WithFromEnv())
	if err != nil {
		return nil, err
	}

	t := &telemetry{histograms: new(mqttotel.Producer)}
	t.tracers = sdktrace.NewTracerProvider(sdktrace.WithResource(program),
		sdktrace.WithBatcher(spanExporter{spans, &t.outage}))
	t.meters = sdkmetric.NewMeterProvider(sdkmetric.WithResource(program),
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metricExporter{metrics, &t.outage}, sdkmetric.WithProducer(t.histograms))))
	t.end = func(ctx context.Context) {
		spans.Shutdown(ctx) // its error is that of ctx
		transport.CloseIdleConnections()
	}
	return t, nil
}

// parseCollector returns the URL of a collector. With a wrong URL the exporters would use another
// collector, and they ignore the parts that parseCollector rejects.
func parseCollector(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, fmt.Errorf("%q is not like http://localhost:4318: it needs http or https, and a host", s)
	case u.User != nil:
		return nil, errors.New("the URL has a user name; put credentials into OTEL_EXPORTER_OTLP_HEADERS")
	case u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("%q has a query or a fragment", s)
	}
	return u, nil
}

// watch makes the metrics of client.
func (t *telemetry) watch(client *mqtt.Client) error {
	t.histograms.Add(client)
	_, err := mqttotel.Register(client, t.meters)
	return err
}

// shutdown passes on the last spans and metrics. It returns when ctx ends, at the latest.
func (t *telemetry) shutdown(ctx context.Context) {
	if err := t.tracers.Shutdown(ctx); err != nil {
		t.outage.ended(spanSignal, err)
	}
	if err := t.meters.Shutdown(ctx); err != nil {
		t.outage.ended(metricSignal, err)
	}
	t.end(ctx)
}

// printer prints spans. It implements sdktrace.SpanExporter.
type printer struct{}

func (printer) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, s := range spans {
		fmt.Printf("span      %s %-8s %-8s %v\n", s.SpanContext().TraceID(), s.Name(), s.SpanKind(), s.EndTime().Sub(s.StartTime()))
	}
	return nil
}

func (printer) Shutdown(context.Context) error { return nil }
