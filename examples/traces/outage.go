package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// A signal is a kind of telemetry. Signals are bits.
type signal uint8

const (
	spanSignal signal = 1 << iota
	metricSignal
)

// An outage is the time in which exports fail. The program prints its beginning and its end. The
// SDK would print each failure. Spans of failed exports are lost. Metrics are cumulative, so the
// next export has all of them.
//
// Invariant: failing has the signals whose last export failed.
type outage struct {
	mu      sync.Mutex
	failing signal
}

// ended records the end of an export. An export that was canceled, as at the end of the program,
// says nothing about the collector.
func (o *outage) ended(s signal, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	o.mu.Lock()
	before := o.failing
	if o.failing |= s; err == nil {
		o.failing &^= s
	}
	after := o.failing
	o.mu.Unlock()
	switch {
	case before == 0 && after != 0:
		fmt.Println("collector fails:", err)
	case before != 0 && after == 0:
		fmt.Println("collector answers again")
	}
}

// A spanExporter reports its failures to an outage.
type spanExporter struct {
	sdktrace.SpanExporter
	outage *outage
}

func (e spanExporter) ExportSpans(ctx context.Context, batch []sdktrace.ReadOnlySpan) error {
	e.outage.ended(spanSignal, e.SpanExporter.ExportSpans(ctx, batch))
	return nil
}

// A metricExporter reports its failures to an outage.
type metricExporter struct {
	sdkmetric.Exporter
	outage *outage
}

func (e metricExporter) Export(ctx context.Context, all *metricdata.ResourceMetrics) error {
	e.outage.ended(metricSignal, e.Exporter.Export(ctx, all))
	return nil
}
