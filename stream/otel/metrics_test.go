package mqttotel_test

import (
	"maps"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
	mqttotel "github.com/go-millrace/mqtt/stream/otel"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// metered returns a MeterProvider and its reader, which has the producer p.
func metered(t *testing.T, p *mqttotel.Producer) (*sdkmetric.MeterProvider, *sdkmetric.ManualReader) {
	r := sdkmetric.NewManualReader(sdkmetric.WithProducer(p))
	m := sdkmetric.NewMeterProvider(sdkmetric.WithReader(r))
	t.Cleanup(func() { m.Shutdown(t.Context()) })
	return m, r
}

// values returns the value of each data point of an integer metric, by its attributes.
func values(t *testing.T, m metricdata.Metrics) map[string]int64 {
	t.Helper()
	sum, ok := m.Data.(metricdata.Sum[int64])
	if !ok {
		t.Fatalf("%s is %T", m.Name, m.Data)
	}
	got := map[string]int64{}
	for _, p := range sum.DataPoints {
		got[p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Value
	}
	return got
}

func TestTheFiguresOfAClientAreExported(t *testing.T) {
	versions(t, func(t *testing.T, v mqtt.Version) {
		synctest.Test(t, func(t *testing.T) {
			client, b := open(t, v, nil)
			provider, reader := metered(t, new(mqttotel.Producer))
			if _, err := mqttotel.Register(client, provider); err != nil {
				t.Fatal(err)
			}
			c := b.Handshake(false)
			publish(t, client, c, mqtt.Message{Topic: "level", QoS: mqtt.AtLeastOnce}, func(p frames.Publish) { c.Complete(p) })
			go client.Publish(t.Context(), mqtt.Message{Topic: "level", QoS: mqtt.AtLeastOnce})
			streamtest.Next[frames.Publish](c)
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()

			got := collect(t, reader)
			for name, want := range map[string]map[string]int64{
				"millrace.online":                    {"": 1},
				"millrace.in_flight.messages":        {"": 1},
				"millrace.publishes.sent":            {"": 2},
				"messaging.client.sent.messages":     {"messaging.operation.name=publish,messaging.system=mqtt": 2},
				"millrace.publications.not_sent":     {"": 0},
				"millrace.connections.attempts":      {"": 1},
				"messaging.client.consumed.messages": {"messaging.operation.name=receive,messaging.system=mqtt": 0},
			} {
				if v := values(t, got[name]); !maps.Equal(v, want) {
					t.Errorf("%s is %v, want %v", name, v, want)
				}
			}
			age, ok := got["millrace.in_flight.age"].Data.(metricdata.Gauge[float64])
			if !ok || len(age.DataPoints) != 1 || age.DataPoints[0].Value != 1.5 || got["millrace.in_flight.age"].Unit != "s" {
				t.Errorf("the age of the publication in flight is %+v, want 1.5 s", got["millrace.in_flight.age"])
			}
		})
	})
}

// A counter never falls, and other figures rise and fall.
func TestCountersAreMonotonicAndOtherFiguresAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := open(t, mqtt.V5, nil)
		provider, reader := metered(t, new(mqttotel.Producer))
		if _, err := mqttotel.Register(client, provider); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]bool{"millrace.sent.size": true, "millrace.queue.size": false} {
			m := collect(t, reader)[name]
			if sum := m.Data.(metricdata.Sum[int64]); sum.IsMonotonic != want || m.Unit != "By" {
				t.Errorf("%s is monotonic: %v, unit %s", name, sum.IsMonotonic, m.Unit)
			}
		}
	})
}

func TestAttributesTellClientsApartUntilTheyAreUnregistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, b := open(t, mqtt.V5, nil)
		out, _ := open(t, mqtt.V5, nil)
		producer := new(mqttotel.Producer)
		provider, reader := metered(t, producer)
		registered, err := mqttotel.Register(in, provider, attribute.String("client", "in"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mqttotel.Register(out, provider, attribute.String("client", "out")); err != nil {
			t.Fatal(err)
		}
		remove := producer.Add(in, attribute.String("client", "in"))
		producer.Add(out, attribute.String("client", "out"))
		b.Handshake(false)
		synctest.Wait()
		for _, want := range []map[string]int64{{"client=in": 1, "client=out": 0}, {"client=out": 0}} {
			got := collect(t, reader)
			if v := values(t, got["millrace.online"]); !maps.Equal(v, want) {
				t.Errorf("online: %v, want %v", v, want)
			}
			connects := got["millrace.connect.duration"].Data.(metricdata.ExponentialHistogram[float64])
			counts := map[string]int64{}
			for _, p := range connects.DataPoints {
				counts[p.Attributes.Encoded(attribute.DefaultEncoder())] = int64(p.Count)
			}
			if !maps.Equal(counts, want) {
				t.Errorf("connection attempts: %v, want %v", counts, want)
			}
			if err := registered.Unregister(); err != nil {
				t.Error(err)
			}
			remove()
		}
	})
}

func TestTheProducerHasTheBucketsOfTimings(t *testing.T) {
	versions(t, func(t *testing.T, v mqtt.Version) {
		synctest.Test(t, func(t *testing.T) {
			client, b := open(t, v, nil)
			producer := new(mqttotel.Producer)
			_, reader := metered(t, producer)
			if got := collect(t, reader); len(got) != 0 {
				t.Errorf("without clients: %v", got)
			}
			began := time.Now()
			producer.Add(client)
			c := b.Handshake(false)
			for _, wait := range []time.Duration{0, time.Microsecond, 40 * time.Millisecond, 41 * time.Millisecond, time.Second, 1001 * time.Millisecond, 15 * time.Second} {
				publish(t, client, c, mqtt.Message{Topic: "level", QoS: mqtt.AtLeastOnce}, func(p frames.Publish) {
					time.Sleep(wait)
					c.Complete(p)
				})
			}
			client.Close() // the last values are shown
			var want mqtt.Timings
			client.Timings(&want)
			if want.Published[1].Count != 7 {
				t.Fatalf("%d publications recorded, want 7", want.Published[1].Count)
			}
			got := collect(t, reader)["messaging.client.operation.duration"]
			points := got.Data.(metricdata.ExponentialHistogram[float64]).DataPoints
			if len(points) != 3 || got.Unit != "s" {
				t.Fatalf("%d data points in %s, want one for each QoS, in s", len(points), got.Unit)
			}
			for q, p := range points {
				compare(t, p, &want.Published[q])
				wanted := attribute.NewSet(attribute.String("messaging.system", "mqtt"), attribute.String("messaging.operation.name", "publish"),
					attribute.String("messaging.operation.type", "send"), attribute.Int("millrace.qos", q))
				if !p.Attributes.Equals(&wanted) || p.StartTime != began || p.Time != time.Now() {
					t.Errorf("attributes %v, from %v to %v", p.Attributes.Encoded(attribute.DefaultEncoder()), p.StartTime, p.Time)
				}
			}
		})
	})
}

// compare demands that got and want have the same durations.
func compare(t *testing.T, got metricdata.ExponentialHistogramDataPoint[float64], want *mqtt.Histogram) {
	t.Helper()
	if got.Count != want.Count || got.Sum != want.Sum.Seconds() || got.Scale != 2 || got.ZeroThreshold != math.Exp2(-20) {
		t.Errorf("%d durations of %v s, scale %d, zero threshold %v; want %d of %v", got.Count, got.Sum, got.Scale, got.ZeroThreshold, want.Count, want.Sum)
	}
	buckets := map[int]uint64{}
	if got.ZeroCount > 0 {
		buckets[mqtt.HistogramFirst] = got.ZeroCount
	}
	for i, n := range got.PositiveBucket.Counts {
		if n > 0 {
			buckets[int(got.PositiveBucket.Offset)+i+1] = n // native indexes are higher by 1
		}
	}
	if wanted := maps.Collect(want.Native()); !maps.Equal(buckets, wanted) {
		t.Errorf("native buckets %v, want %v", buckets, wanted)
	}
}
