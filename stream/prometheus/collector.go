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
// The names begin with millrace_, not with mqtt_, because many metrics exist only in this library,
// and because another MQTT library in the same process may have metrics too. Each counter ends in
// _total, and each unit is a base unit: seconds and bytes. Every field of mqtt.Stats is a metric. A
// bool is 1 or 0, and an age is in seconds:
//
//	Sent            millrace_publishes_sent_total
//	BytesOut        millrace_sent_bytes_total
//	Queued          millrace_queued_publications
//	OldestUnacked   millrace_oldest_unacked_age_seconds
//	Online          millrace_online
//
// A first scrape lists all of them. The fields of mqtt.Timings are histograms:
//
//	Published       millrace_publish_duration_seconds, with the label qos
//	HandedOver      millrace_hand_over_duration_seconds
//	Acked           millrace_ack_duration_seconds
//	Connect         millrace_connect_duration_seconds
//	Commit          millrace_store_commit_duration_seconds
//	Ping            millrace_ping_duration_seconds
//
// No metric has a label for the topic or the client, so the number of series does not grow with
// topics. A program with several clients gives each client a label of its choice; see New.
//
// # Histograms
//
// Each histogram is a native and a classic histogram at once. The native histogram has the buckets
// of mqtt.Histogram, with schema 2: four for each doubling. The zero bucket counts everything up to
// 2^-20 s. The highest bucket has the upper bound 1,024 s and counts everything above 861 s. The
// text formats need classic buckets. There are 21 of them, with bounds from 61 µs to 64 s, each
// twice the bound before. A Prometheus server that scrapes native histograms ignores the classic
// buckets, unless it is configured to read both (always_scrape_classic_histograms).
package mqttprom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-millrace/mqtt"
)

// Source has the figures for a collector. An *mqtt.Client is a Source.
type Source interface {
	Stats() mqtt.Stats
	Timings(*mqtt.Timings)
}

// New returns a collector of c. After the end of the client the collector still has its last
// values.
//
// The labels are constant and belong to every metric; nil is none. They tell clients of one program
// apart: collectors of the same registry must have the same label names, with different values.
// Otherwise Register of the registry returns an error, as it does for an invalid name.
//
// New begins the recording that mqtt.Client.Timings describes, so call it right after Open or Dial.
// A scrape waits neither for the client nor for its broker.
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

// collector implements prometheus.Collector. It keeps no figures. Its descriptions are in the order
// of statsMetrics and timingsMetrics.
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

// Collect implements prometheus.Collector. All counters and gauges of a scrape come from one call
// of Stats.
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
