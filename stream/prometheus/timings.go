package mqttprom

import (
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/go-millrace/mqtt"
)

// A timingsMetric is a metric of one field of mqtt.Timings.
type timingsMetric struct {
	field string // of mqtt.Timings
	name  string // without namespace
	help  string
	qos   bool // one histogram for each QoS
	of    func(*mqtt.Timings) []mqtt.Histogram
}

// timingsMetrics are the metrics of all fields of mqtt.Timings, in their order there.
var timingsMetrics = []timingsMetric{
	{"Published", "publish_duration_seconds", "Publications without an error, from their acceptance to their Receipt.", true,
		func(t *mqtt.Timings) []mqtt.Histogram { return t.Published[:] }},
	{"HandedOver", "hand_over_duration_seconds", "Messages, from the read to the hand-over to a consumer.", false,
		func(t *mqtt.Timings) []mqtt.Histogram { return []mqtt.Histogram{t.HandedOver} }},
	{"Acked", "ack_duration_seconds", "QoS 1 and 2 deliveries, from the hand-over to the ack of the consumer.", false,
		func(t *mqtt.Timings) []mqtt.Histogram { return []mqtt.Histogram{t.Acked} }},
	{"Connect", "connect_duration_seconds", "Connection attempts that succeeded, until CONNACK.", false,
		func(t *mqtt.Timings) []mqtt.Histogram { return []mqtt.Histogram{t.Connect} }},
	{"Commit", "store_commit_duration_seconds", "Commits of the Store that succeeded.", false,
		func(t *mqtt.Timings) []mqtt.Histogram { return []mqtt.Histogram{t.Commit} }},
	{"Ping", "ping_duration_seconds", "PINGREQ packets that were answered, until PINGRESP.", false,
		func(t *mqtt.Timings) []mqtt.Histogram { return []mqtt.Histogram{t.Ping} }},
}

// collect sends the metrics of m to ch. The recording began at the time since.
func (m *timingsMetric) collect(ch chan<- prometheus.Metric, d *prometheus.Desc, t *mqtt.Timings, since time.Time) {
	for q, h := range m.of(t) {
		var labels []string
		if m.qos {
			labels = []string{strconv.Itoa(q)}
		}
		ch <- newHistogram(d, &h, since, labels...)
	}
}

// The classic buckets end at every fourth bound of mqtt.Histogram, which is a power of two seconds:
// from 2^-14 s, or 61 µs, to 2^6 s.
const (
	classicFirst = -14
	classicLast  = 6
)

// bound returns the upper bound of the bucket with a native index, in seconds.
func bound(index int) float64 { return math.Exp2(float64(index) / 4) }

// A histogram is a prometheus.Metric with native and with classic buckets. The constructors of
// package prometheus make only one of the two, so Write adds the classic buckets.
type histogram struct {
	prometheus.Metric
	classic []*dto.Bucket
}

// newHistogram returns h as a metric. The zero bucket is bucket 0 of h, which counts 0 as well.
func newHistogram(d *prometheus.Desc, h *mqtt.Histogram, since time.Time, labels ...string) prometheus.Metric {
	positive := make(map[int]int64)
	for i, n := range h.Native() {
		if i != mqtt.HistogramFirst {
			positive[i] = int64(n)
		}
	}
	native, err := prometheus.NewConstNativeHistogram(d, h.Count, h.Sum.Seconds(), positive, nil, h.Buckets[0],
		mqtt.HistogramSchema, bound(mqtt.HistogramFirst), since, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(d, err)
	}
	return &histogram{native, classicBuckets(h)}
}

// classicBuckets returns the classic buckets, each with the counts of all lower buckets.
func classicBuckets(h *mqtt.Histogram) []*dto.Bucket {
	var buckets []*dto.Bucket
	var count uint64
	next := 0
	for octave := classicFirst; octave <= classicLast; octave++ {
		for ; next+mqtt.HistogramFirst <= 4*octave; next++ {
			count += h.Buckets[next]
		}
		upper, cumulative := bound(4*octave), count
		buckets = append(buckets, &dto.Bucket{UpperBound: &upper, CumulativeCount: &cumulative})
	}
	return buckets
}

// Write implements prometheus.Metric.
func (h *histogram) Write(m *dto.Metric) error {
	if err := h.Metric.Write(m); err != nil {
		return err
	}
	m.Histogram.Bucket = h.classic
	return nil
}
