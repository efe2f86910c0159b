// Package mqttprom shows the figures of MQTT clients to Prometheus.
//
// New makes a collector of one client, which a registry reads at every scrape:
//
//	registry.MustRegister(mqttprom.New(client, nil))
//
// The import path ends in prometheus. The package has another name, so that a file can import it
// beside package prometheus of Prometheus.
//
// # Metrics
//
// The names begin with millrace_, not with mqtt_, because the meaning of many metrics belongs to
// this library, and so that another MQTT library in the same process may have metrics too. Each
// counter ends in _total, and each unit is a base unit: seconds and bytes. Every field of
// mqtt.Stats is a metric. A bool is 1 or 0, and an age is in seconds:
//
//	Sent            millrace_publishes_sent_total
//	BytesOut        millrace_sent_bytes_total
//	Queued          millrace_queued_publications
//	OldestUnacked   millrace_oldest_unacked_age_seconds
//	Online          millrace_online
//
// Describe, or a first scrape, lists them all. The fields of mqtt.Timings are histograms:
//
//	Published       millrace_publish_duration_seconds, with the label qos
//	HandedOver      millrace_hand_over_duration_seconds
//	Acked           millrace_ack_duration_seconds
//	Connect         millrace_connect_duration_seconds
//	Commit          millrace_store_commit_duration_seconds
//	Ping            millrace_ping_duration_seconds
//
// There is no label for topics or clients, so the number of series does not grow with them. A
// program with several clients gives each a label of its own choice; see New.
//
// # Histograms
//
// A histogram has both forms. As a native histogram it has the buckets of mqtt.Histogram as they
// are, with schema 2: four for each doubling. The zero bucket counts everything up to 2^-20 s, and
// the highest bucket, of which 1,024 s is the upper bound, everything above 861 s. The classic
// buckets, which the text formats need, are 21: from 61 µs to 64 s, each twice as wide as the one
// before. A server of Prometheus that scrapes native histograms ignores them, unless it is
// configured to read both (always_scrape_classic_histograms).
package mqttprom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-millrace/mqtt"
)

// Source has the figures that a collector shows. An *mqtt.Client is a Source.
type Source interface {
	Stats() mqtt.Stats
	Timings(*mqtt.Timings)
}

// New returns a collector of c. It is for the whole life of the program: after the end of the
// client it goes on to show the last values.
//
// The labels are constant and belong to every metric; nil is none. They tell clients of one program
// apart: collectors of the same registry must have the same names of labels, with different values.
// Otherwise Register returns an error, as it does for an invalid name.
//
// New begins to record the durations of c, as mqtt.Client.Timings describes, so call it before the
// client has much to do. A scrape waits for nothing: neither for the client nor for its broker.
func New(c Source, labels prometheus.Labels) prometheus.Collector {
	k := &collector{source: c, began: time.Now()}
	for _, m := range statsMetrics {
		k.stats = append(k.stats, prometheus.NewDesc(namespace+m.name, m.help, nil, labels))
	}
	for _, m := range timingsMetrics {
		var variable []string
		if m.qos {
			variable = []string{"qos"}
		}
		k.timings = append(k.timings, prometheus.NewDesc(namespace+m.name, m.help, variable, labels))
	}
	c.Timings(new(mqtt.Timings))
	return k
}

// collector implements prometheus.Collector. It keeps no figures; its descriptions are in the order
// of their tables.
type collector struct {
	source  Source
	began   time.Time // recording of durations
	stats   []*prometheus.Desc
	timings []*prometheus.Desc
}

// Describe implements prometheus.Collector.
func (k *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range k.stats {
		ch <- d
	}
	for _, d := range k.timings {
		ch <- d
	}
}

// Collect implements prometheus.Collector. All counters and gauges of a scrape are of one moment.
func (k *collector) Collect(ch chan<- prometheus.Metric) {
	stats := k.source.Stats()
	for i, m := range statsMetrics {
		ch <- prometheus.MustNewConstMetric(k.stats[i], m.kind(), m.value(&stats))
	}
	var timings mqtt.Timings
	k.source.Timings(&timings)
	for i, m := range timingsMetrics {
		m.collect(ch, k.timings[i], &timings, k.began)
	}
}
