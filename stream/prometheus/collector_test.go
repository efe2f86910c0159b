package mqttprom_test

import (
	"context"
	"io"
	"maps"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
	mqttprom "github.com/go-millrace/mqtt/stream/prometheus"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// publish publishes a message at QoS 1 and lets the broker wait before its PUBACK.
func publish(t *testing.T, client *mqtt.Client, c *streamtest.Conn, wait time.Duration) {
	t.Helper()
	published := make(chan error, 1)
	go func() {
		published <- client.Publish(context.Background(), mqtt.Message{Topic: "level", QoS: mqtt.AtLeastOnce})
	}()
	p := streamtest.Next[frames.Publish](c)
	time.Sleep(wait) // in the bubble
	c.Complete(p)
	if err := <-published; err != nil {
		t.Fatal(err)
	}
}

func TestAScrapeShowsTheFiguresOfAClient(t *testing.T) {
	versions(t, func(t *testing.T, v mqtt.Version) {
		synctest.Test(t, func(t *testing.T) {
			client, b := open(t, v)
			registry := prometheus.NewPedanticRegistry()
			registry.MustRegister(mqttprom.New(client, nil))
			for _, format := range []string{asText, asProtobuf} {
				if got := value(t, families(t, registry, format), "millrace_online"); got != 0 {
					t.Errorf("online before the handshake: %v", got)
				}
			}

			c := b.Handshake(false)
			publish(t, client, c, 40*time.Millisecond)
			go client.Publish(t.Context(), mqtt.Message{Topic: "level", QoS: mqtt.AtLeastOnce})
			streamtest.Next[frames.Publish](c)
			time.Sleep(time.Second)
			synctest.Wait()

			for _, format := range []string{asText, asProtobuf} {
				got := families(t, registry, format)
				for name, want := range map[string]float64{
					"millrace_online":                          1,
					"millrace_connections_total":               1,
					"millrace_publishes_sent_total":            2,
					"millrace_publications_acknowledged_total": 1,
					"millrace_in_flight_publications":          1,
					"millrace_window_publications":             1,
				} {
					if v := value(t, got, name); v != want {
						t.Errorf("%s is %v, want %v", name, v, want)
					}
				}
			}
		})
	})
}

func TestAgesAreInSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, b := open(t, mqtt.V5)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(mqttprom.New(client, nil))
		c := b.Handshake(false)
		go client.Publish(t.Context(), mqtt.Message{Topic: "level", QoS: mqtt.AtLeastOnce})
		streamtest.Next[frames.Publish](c)
		time.Sleep(1500 * time.Millisecond)
		if got := value(t, families(t, registry, asText), "millrace_oldest_in_flight_age_seconds"); got != 1.5 {
			t.Errorf("the oldest publication in flight is %v s old, want 1.5", got)
		}
	})
}

// The linter of Prometheus knows the conventions for names, units and suffixes.
func TestTheNamesFollowTheConventionsOfPrometheus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := open(t, mqtt.V5)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(mqttprom.New(client, nil))
		problems, err := testutil.GatherAndLint(registry)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
		for name := range families(t, registry, asText) {
			if !strings.HasPrefix(name, "millrace_") {
				t.Errorf("%s does not begin with millrace_", name)
			}
		}
	})
}

func TestNoMetricHasATopicOrAClientAsLabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, b := open(t, mqtt.V5)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(mqttprom.New(client, nil))
		publish(t, client, b.Handshake(false), 0)
		for name, f := range families(t, registry, asProtobuf) {
			for _, m := range f.Metric {
				for _, l := range m.Label {
					if name != "millrace_publish_duration_seconds" || l.GetName() != "qos" {
						t.Errorf("%s has the label %s", name, l)
					}
				}
			}
		}
	})
}

// The scrape has the same buckets as Client.Timings.
func TestAProtobufScrapeHasTheBucketsOfTimingsAsANativeHistogram(t *testing.T) {
	versions(t, func(t *testing.T, v mqtt.Version) {
		synctest.Test(t, func(t *testing.T) {
			client, b := open(t, v)
			registry := prometheus.NewPedanticRegistry()
			registry.MustRegister(mqttprom.New(client, nil))
			c := b.Handshake(false)
			for _, wait := range []time.Duration{
				0, time.Microsecond, 61 * time.Microsecond, 40 * time.Millisecond, 41 * time.Millisecond, time.Second, 1001 * time.Millisecond, 15 * time.Second,
			} {
				publish(t, client, c, wait)
			}
			var want mqtt.Timings
			client.Timings(&want)
			if want.Published[1].Count != 8 {
				t.Fatalf("%d publications recorded, want 8", want.Published[1].Count)
			}
			f := families(t, registry, asProtobuf)["millrace_publish_duration_seconds"]
			if f == nil || len(f.Metric) != 3 {
				t.Fatalf("%v, want a histogram for each QoS", f)
			}
			for q, m := range f.Metric {
				if l := m.Label; len(l) != 1 || l[0].GetName() != "qos" || l[0].GetValue() != string(rune('0'+q)) {
					t.Errorf("labels %v, want qos %d", l, q)
				}
				compare(t, m.Histogram, &want.Published[q])
			}
		})
	})
}

// compare demands that got and want have the same durations.
func compare(t *testing.T, got *dto.Histogram, want *mqtt.Histogram) {
	t.Helper()
	if got.GetSchema() != 2 || got.GetZeroThreshold() != math.Exp2(-20) || got.CreatedTimestamp.AsTime().Year() < 2000 {
		t.Errorf("schema %d, zero threshold %v, created %v", got.GetSchema(), got.GetZeroThreshold(), got.CreatedTimestamp.AsTime())
	}
	if got.GetSampleCount() != want.Count || got.GetSampleSum() != want.Sum.Seconds() {
		t.Errorf("%d durations of %v s, want %d of %v", got.GetSampleCount(), got.GetSampleSum(), want.Count, want.Sum)
	}
	wanted := maps.Collect(want.Native())
	native := map[int]uint64{}
	if n := got.GetZeroCount(); n > 0 {
		native[mqtt.HistogramFirst] = n
	}
	index, count, deltas := 0, int64(0), got.PositiveDelta
	for _, span := range got.PositiveSpan {
		index += int(span.GetOffset())
		for range span.GetLength() {
			count, deltas = count+deltas[0], deltas[1:]
			if count > 0 {
				native[index] = uint64(count)
			}
			index++
		}
	}
	if !maps.Equal(native, wanted) {
		t.Errorf("native buckets %v, want %v", native, wanted)
	}
	if len(got.Bucket) != 21 {
		t.Errorf("%d classic buckets, want 21", len(got.Bucket))
	}
	for _, b := range got.Bucket {
		var below uint64
		for i, n := range want.Buckets {
			if want.Bound(i).Seconds() <= b.GetUpperBound() {
				below += n
			}
		}
		if b.GetCumulativeCount() != below {
			t.Errorf("%d durations up to %v s, want %d", b.GetCumulativeCount(), b.GetUpperBound(), below)
		}
	}
}

func TestATextScrapeHasClassicBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, b := open(t, mqtt.V5)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(mqttprom.New(client, nil))
		publish(t, client, b.Handshake(false), 40*time.Millisecond)
		body, err := io.ReadAll(scrape(t, registry, asText).Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{
			`millrace_publish_duration_seconds_bucket{qos="1",le="0.03125"} 0`,
			`millrace_publish_duration_seconds_bucket{qos="1",le="0.0625"} 1`,
			`millrace_publish_duration_seconds_bucket{qos="1",le="+Inf"} 1`,
			`millrace_publish_duration_seconds_sum{qos="1"} 0.04`,
			`millrace_publish_duration_seconds_count{qos="1"} 1`,
		} {
			if !strings.Contains(string(body), line+"\n") {
				t.Errorf("no line %s in\n%s", line, body)
			}
		}
	})
}

func TestALabelTellsSeveralClientsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, b := open(t, mqtt.V5)
		out, _ := open(t, mqtt.V5)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(
			mqttprom.New(in, prometheus.Labels{"client": "in"}),
			mqttprom.New(out, prometheus.Labels{"client": "out"}),
		)
		b.Handshake(false)
		synctest.Wait()
		online := map[string]float64{}
		for _, m := range families(t, registry, asText)["millrace_online"].Metric {
			online[m.Label[0].GetName()+" "+m.Label[0].GetValue()] = m.Gauge.GetValue()
		}
		if want := map[string]float64{"client in": 1, "client out": 0}; !maps.Equal(online, want) {
			t.Errorf("online: %v, want %v", online, want)
		}
		for name, labels := range map[string]prometheus.Labels{
			"the same label":  {"client": "in"},
			"another label":   {"broker": "a"},
			"no label":        nil,
			"an invalid name": {"__name__": "a"},
		} {
			if err := registry.Register(mqttprom.New(in, labels)); err == nil {
				t.Errorf("%s: registered", name)
			}
		}
	})
}

func TestAClientThatHasEndedShowsItsLastValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, b := open(t, mqtt.V5)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(mqttprom.New(client, nil))
		publish(t, client, b.Handshake(false), 40*time.Millisecond)
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		got := families(t, registry, asProtobuf)
		if sent, online := value(t, got, "millrace_publishes_sent_total"), value(t, got, "millrace_online"); sent != 1 || online != 0 {
			t.Errorf("%v sent, online %v; want 1 and 0", sent, online)
		}
		if n := got["millrace_publish_duration_seconds"].Metric[1].Histogram.GetSampleCount(); n != 1 {
			t.Errorf("%d durations, want 1", n)
		}
	})
}
