package mqttotel

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"

	"github.com/go-millrace/mqtt"
)

// scope is the name of the instrumentation scope.
const scope = "github.com/go-millrace/mqtt/stream/otel"

// system is an attribute of every metric and span that follows the conventions for messaging.
var system = semconv.MessagingSystemKey.String("mqtt")

// Source has the figures for Register and Producer. An *mqtt.Client is a Source.
type Source interface {
	Stats() mqtt.Stats
	Timings(*mqtt.Timings)
}

// Register makes instruments for all fields of c.Stats. The MeterProvider p makes them; nil is the
// global MeterProvider. The attributes belong to every metric, and tell clients of one program
// apart. If clients have the same attributes, the SDK shows the sums of their numbers, and the ages
// of one of them.
//
// Each collection reads the client once, also after its end, until Registration.Unregister is
// called. Register returns an error only if p cannot make an instrument.
func Register(c Source, p metric.MeterProvider, attributes ...attribute.KeyValue) (metric.Registration, error) {
	if p == nil {
		p = otel.GetMeterProvider()
	}
	meter := p.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL))
	var all []metric.Observable
	var observes []func(metric.Observer, *mqtt.Stats)
	for _, m := range counts {
		set := metric.WithAttributeSet(attribute.NewSet(slices.Concat(attributes, m.attributes)...))
		instrument, err := m.instrument(meter)
		if err != nil {
			return nil, err
		}
		all = append(all, instrument)
		observes = append(observes, func(o metric.Observer, s *mqtt.Stats) { o.ObserveInt64(instrument, m.value(s), set) })
	}
	set := metric.WithAttributeSet(attribute.NewSet(attributes...))
	for _, m := range ages {
		instrument, err := meter.Float64ObservableGauge(m.name, metric.WithUnit("s"), metric.WithDescription(m.description))
		if err != nil {
			return nil, err
		}
		all = append(all, instrument)
		observes = append(observes, func(o metric.Observer, s *mqtt.Stats) { o.ObserveFloat64(instrument, m.value(s).Seconds(), set) })
	}
	return meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		stats := c.Stats()
		for _, observe := range observes {
			observe(o, &stats)
		}
		return nil
	}, all...)
}

// instrument makes the instrument of m.
func (m *count) instrument(meter metric.Meter) (metric.Int64Observable, error) {
	if m.sum {
		return meter.Int64ObservableCounter(m.name, metric.WithUnit(m.unit), metric.WithDescription(m.description))
	}
	return meter.Int64ObservableUpDownCounter(m.name, metric.WithUnit(m.unit), metric.WithDescription(m.description))
}
