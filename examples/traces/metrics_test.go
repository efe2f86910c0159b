package main

import (
	"context"
	"errors"
	"maps"
	"math"
	"net"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/go-millrace/mqtt"
	mqttotel "github.com/go-millrace/mqtt/stream/otel"
)

// A described metric is a metric without its data.
type described struct {
	unit, description string
	kind              string
}

func TestTheCollectorGetsTheMetricsOfTheClient(t *testing.T) {
	r := startReceiver(t)
	p := startExport(t, r.url)
	// The program exports while it runs, too.
	r.await(t, func() bool {
		var count uint64
		for _, d := range r.durations("messaging.client.operation.duration") {
			count += d.Count
		}
		return count > 3 && len(r.named("process")) > 0
	})
	p.Interrupt()

	got := map[string]described{}
	for _, m := range r.metrics {
		if _, twice := got[m.Name]; twice || m.source != ofClient {
			t.Errorf("metric %s of %v: twice is %v", m.Name, m.source, twice)
		}
		got[m.Name] = described{m.Unit, m.Description, kindOf(m.Metric)}
		for _, d := range m.GetExponentialHistogram().GetDataPoints() {
			checkHistogram(t, m.Name, d)
		}
	}
	if want := collected(t); !maps.Equal(got, want) {
		t.Errorf("the metrics are %v, want %v", got, want)
	}
	for name, unit := range map[string]string{"messaging.client.sent.messages": "{message}", "messaging.client.consumed.messages": "{message}",
		"messaging.client.operation.duration": "s", "messaging.process.duration": "s", "millrace.in_flight.messages": "{message}"} {
		if got[name].unit != unit {
			t.Errorf("metric %s has the unit %q, want %q", name, got[name].unit, unit)
		}
	}
}

func TestTheMetricsAgreeWithTheSpans(t *testing.T) {
	r := startReceiver(t)
	p := startExport(t, r.url)
	r.await(t, func() bool { return len(r.named("process")) > 9 })
	p.Interrupt()

	// The publish span of a publication lasts as long as the histogram says.
	want := map[int]uint64{}
	var count uint64
	var sum float64
	for _, s := range r.named("publish") {
		if s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
			continue // Ctrl-C came first
		}
		took := float64(s.EndTimeUnixNano-s.StartTimeUnixNano) / 1e9
		want[indexOf(took)]++
		sum += took
		count++
	}
	points := r.durations("messaging.client.operation.duration")
	if len(points) != 3 {
		t.Fatalf("%d data points, want one for each QoS", len(points))
	}
	for qos, d := range points {
		attributes := map[string]any{"messaging.system": "mqtt", "messaging.operation.name": "publish", "messaging.operation.type": "send", "millrace.qos": qos}
		if a := values(d.Attributes); !maps.Equal(a, attributes) {
			t.Errorf("the attributes are %v, want %v", a, attributes)
		}
		if qos != 1 && d.Count != 0 {
			t.Errorf("%d publications of QoS %d, want none", d.Count, qos)
		}
	}
	got := map[int]uint64{}
	for i, n := range points[1].Positive.BucketCounts {
		if n > 0 {
			got[int(points[1].Positive.Offset)+i] = n
		}
	}
	if d := points[1]; d.Count != count || !maps.Equal(got, want) || math.Abs(d.GetSum()-sum) > 1e-6 {
		t.Errorf("%d publications took %v s, buckets %v; their spans are %d of %v s, %v", d.Count, d.GetSum(), got, count, sum, want)
	}
	if d := r.durations("messaging.process.duration"); len(d) != 1 || d[0].Count != uint64(len(r.named("process"))) {
		t.Errorf("messages processed: %v; %d spans", d, len(r.named("process")))
	}
	for _, m := range r.metrics {
		if m.Name == "messaging.client.consumed.messages" {
			if n := m.GetSum().DataPoints[0].GetAsInt(); n != int64(len(r.named("receive"))) {
				t.Errorf("%d messages consumed, %d spans receive", n, len(r.named("receive")))
			}
		}
	}
}

// indexOf returns the index of the bucket for a duration in seconds: bucket i begins above 2^(i/4).
func indexOf(seconds float64) int { return int(math.Ceil(4*math.Log2(seconds))) - 1 }

// checkHistogram checks that the parts of a data point agree. The exporter of version 1.43 leaves
// out the zero threshold, which is 2^-20 s.
func checkHistogram(t *testing.T, name string, d *metricspb.ExponentialHistogramDataPoint) {
	t.Helper()
	counts := d.Positive.GetBucketCounts()
	count, least, most := d.ZeroCount, 0.0, float64(d.ZeroCount)*math.Exp2(-20)
	for i, n := range counts {
		from := float64(int(d.Positive.Offset)+i) / 4
		count += n
		least += float64(n) * math.Exp2(from)
		most += float64(n) * math.Exp2(from+.25)
	}
	if d.Scale != 2 || d.Count != count || d.GetSum() < least-1e-6 || d.GetSum() > most+1e-6 {
		t.Errorf("%s: scale %d, %d durations of %v s; the buckets have %d of %v to %v s", name, d.Scale, d.Count, d.GetSum(), count, least, most)
	}
	if n := len(counts); n > 0 && (counts[0] == 0 || counts[n-1] == 0) || len(d.Negative.GetBucketCounts()) != 0 {
		t.Errorf("%s: buckets %v, negative buckets %v", name, counts, d.Negative)
	}
	if d.StartTimeUnixNano == 0 || d.TimeUnixNano <= d.StartTimeUnixNano {
		t.Errorf("%s: recorded from %d to %d", name, d.StartTimeUnixNano, d.TimeUnixNano)
	}
}

// kindOf returns the kind of a metric, and its temporality.
func kindOf(m *metricspb.Metric) string {
	switch d := m.Data.(type) {
	case *metricspb.Metric_Sum:
		return kind(d.Sum.IsMonotonic, d.Sum.AggregationTemporality == metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE)
	case *metricspb.Metric_Gauge:
		return "gauge"
	case *metricspb.Metric_ExponentialHistogram:
		if d.ExponentialHistogram.AggregationTemporality == metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE {
			return "cumulative histogram"
		}
	}
	return "unexpected"
}

func kind(monotonic, cumulative bool) string {
	switch {
	case !cumulative:
		return "sum of a period"
	case monotonic:
		return "rising sum"
	}
	return "sum"
}

// collected returns the metrics of a client as a reader of the SDK collects them.
func collected(t *testing.T) map[string]described {
	t.Helper()
	client, err := mqtt.Open("mqtt://broker", &mqtt.Options{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no broker here")
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	histograms := new(mqttotel.Producer)
	reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(histograms))
	local := &telemetry{meters: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), histograms: histograms}
	if err := local.watch(client); err != nil {
		t.Fatal(err)
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]described{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			of := "unexpected"
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				of = kind(d.IsMonotonic, d.Temporality == metricdata.CumulativeTemporality)
			case metricdata.Gauge[float64]:
				of = "gauge"
			case metricdata.ExponentialHistogram[float64]:
				of = "cumulative histogram"
			}
			got[m.Name] = described{m.Unit, m.Description, of}
		}
	}
	return got
}
