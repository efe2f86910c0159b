package mqttotel

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/semconv/v1.40.0/messagingconv"

	"github.com/go-millrace/mqtt"
)

// A Producer exports the histograms of clients. The zero value has no clients. Give the Producer to
// a reader, with the option WithProducer of go.opentelemetry.io/otel/sdk/metric, and Add clients.
// The methods may be called at any time, from any goroutine.
type Producer struct {
	mu      sync.Mutex // guards clients, whose elements do not change
	clients []*produced
}

// produced is a client of a Producer.
type produced struct {
	source     Source
	attributes []attribute.KeyValue
	began      time.Time // recording
}

// Add exports the histograms of c, and begins the recording that mqtt.Client.Timings describes. The
// attributes belong to every metric and tell clients of one program apart: clients of one Producer
// must have different attributes, or backends reject the metrics. The client is exported, also
// after its end, until remove is called.
func (p *Producer) Add(c Source, attributes ...attribute.KeyValue) (remove func()) {
	added := &produced{c, slices.Clone(attributes), time.Now()}
	c.Timings(new(mqtt.Timings))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients = append(p.clients, added)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.clients = slices.DeleteFunc(p.clients, func(c *produced) bool { return c == added })
	}
}

// Produce implements the interface Producer of go.opentelemetry.io/otel/sdk/metric.
func (p *Producer) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	p.mu.Lock()
	clients := slices.Clone(p.clients)
	p.mu.Unlock()
	if len(clients) == 0 {
		return nil, nil
	}
	made := metricdata.ScopeMetrics{Scope: instrumentation.Scope{Name: scope, SchemaURL: semconv.SchemaURL}}
	points := make([][]metricdata.ExponentialHistogramDataPoint[float64], len(histograms))
	for _, c := range clients {
		var timings mqtt.Timings
		c.source.Timings(&timings)
		now := time.Now()
		for i, m := range histograms {
			for q, h := range m.of(&timings) {
				points[i] = append(points[i], m.point(c, q, &h, now))
			}
		}
	}
	for i, m := range histograms {
		made.Metrics = append(made.Metrics, metricdata.Metrics{
			Name: m.name, Description: m.description, Unit: "s",
			Data: metricdata.ExponentialHistogram[float64]{DataPoints: points[i], Temporality: metricdata.CumulativeTemporality},
		})
	}
	return []metricdata.ScopeMetrics{made}, nil
}

// A histogram is a metric of one field of mqtt.Timings.
type histogram struct {
	field       string // of mqtt.Timings
	name        string
	description string
	qos         bool // one for each QoS
	of          func(*mqtt.Timings) []mqtt.Histogram
	attributes  []attribute.KeyValue
}

// histograms are the metrics of all fields of mqtt.Timings, in their order there.
var histograms = []histogram{
	{"Published", messagingconv.ClientOperationDuration{}.Name(), "Publications without an error, from their acceptance to their Receipt.", true,
		func(t *mqtt.Timings) []mqtt.Histogram { return t.Published[:] },
		[]attribute.KeyValue{system, semconv.MessagingOperationName("publish"), semconv.MessagingOperationTypeSend}},
	{"HandedOver", "millrace.hand_over.duration", "Messages, from the read to the hand-over to a consumer.", false,
		func(t *mqtt.Timings) []mqtt.Histogram { return []mqtt.Histogram{t.HandedOver} }, nil},
	{"Acked", messagingconv.ProcessDuration{}.Name(), "QoS 1 and 2 deliveries, from the hand-over to the ack of the consumer.", false,
		func(t *mqtt.Timings) []mqtt.Histogram { return []mqtt.Histogram{t.Acked} },
		[]attribute.KeyValue{system, semconv.MessagingOperationName("process"), semconv.MessagingOperationTypeProcess}},
	{"Connect", "millrace.connect.duration", "Connection attempts that succeeded, until CONNACK.", false,
		func(t *mqtt.Timings) []mqtt.Histogram { return []mqtt.Histogram{t.Connect} }, nil},
	{"Commit", "millrace.store.commit.duration", "Commits of the Store that succeeded.", false,
		func(t *mqtt.Timings) []mqtt.Histogram { return []mqtt.Histogram{t.Commit} }, nil},
	{"Ping", "millrace.ping.duration", "PINGREQ packets that were answered, until PINGRESP.", false,
		func(t *mqtt.Timings) []mqtt.Histogram { return []mqtt.Histogram{t.Ping} }, nil},
}

// point returns the data of h, the histogram of one client at one QoS.
func (m *histogram) point(c *produced, q int, h *mqtt.Histogram, now time.Time) metricdata.ExponentialHistogramDataPoint[float64] {
	attributes := slices.Concat(c.attributes, m.attributes)
	if m.qos {
		attributes = append(attributes, qosKey.Int(q))
	}
	return metricdata.ExponentialHistogramDataPoint[float64]{
		Attributes: attribute.NewSet(attributes...), StartTime: c.began, Time: now,
		Count: h.Count, Sum: h.Sum.Seconds(),
		Scale:          mqtt.HistogramSchema,
		ZeroCount:      h.Buckets[0],
		ZeroThreshold:  math.Exp2(mqtt.HistogramFirst / 4),
		PositiveBucket: positive(h),
	}
}

// positive returns the buckets of h above its first, which is the zero bucket. It leaves out the
// empty buckets at both ends.
func positive(h *mqtt.Histogram) metricdata.ExponentialBucket {
	first, last := 1, mqtt.HistogramBuckets-1
	for first <= last && h.Buckets[last] == 0 {
		last--
	}
	for first <= last && h.Buckets[first] == 0 {
		first++
	}
	return metricdata.ExponentialBucket{
		Offset: int32(first + mqtt.HistogramFirst - 1), // see HistogramSchema
		Counts: slices.Clone(h.Buckets[first : last+1]),
	}
}
