package mqttprom

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/go-millrace/mqtt"
)

// fill sets the field i of v, which is a number or a bool, to a value that no other field has, and
// returns the value as a metric shows it.
func fill(t *testing.T, v reflect.Value, i int) float64 {
	t.Helper()
	switch f := v.Field(i); f.Interface().(type) {
	case bool:
		f.SetBool(true)
		return 1
	case time.Duration:
		f.SetInt(int64(i+2) * int64(time.Second))
	case uint64:
		f.SetUint(uint64(i + 2))
	case int:
		f.SetInt(int64(i + 2))
	default:
		t.Fatalf("%s has a type that this test does not know", v.Type().Field(i).Name)
	}
	return float64(i + 2)
}

func TestEveryFieldOfStatsIsAMetricOfItsValue(t *testing.T) {
	of := reflect.TypeFor[mqtt.Stats]()
	if of.NumField() != len(statsMetrics) {
		t.Errorf("%d fields, %d metrics", of.NumField(), len(statsMetrics))
	}
	for i := range min(of.NumField(), len(statsMetrics)) {
		m, field := statsMetrics[i], of.Field(i)
		if m.field != field.Name {
			t.Fatalf("metric %d is for %s, but field %d is %s", i, m.field, i, field.Name)
		}
		var s mqtt.Stats
		if got := m.value(&s); got != 0 {
			t.Errorf("%s: %v for zero Stats", m.name, got)
		}
		want := fill(t, reflect.ValueOf(&s).Elem(), i)
		if got := m.value(&s); got != want {
			t.Errorf("%s shows %v, but %s is %v", m.name, got, field.Name, want)
		}
		if counter := field.Type.Kind() == reflect.Uint64; counter != (m.kind() == prometheus.CounterValue) {
			t.Errorf("%s: %s is a counter: %v", m.name, field.Name, counter)
		}
		if age := field.Type == reflect.TypeFor[time.Duration](); age != strings.HasSuffix(m.name, "_age_seconds") {
			t.Errorf("%s: %s is a time.Duration: %v", m.name, field.Name, age)
		}
	}
}

func TestEveryFieldOfTimingsIsAHistogramOfItsValues(t *testing.T) {
	of := reflect.TypeFor[mqtt.Timings]()
	if of.NumField() != len(timingsMetrics) {
		t.Fatalf("%d fields, %d metrics", of.NumField(), len(timingsMetrics))
	}
	for i, m := range timingsMetrics {
		if m.field != of.Field(i).Name {
			t.Fatalf("metric %d is for %s, but field %d is %s", i, m.field, i, of.Field(i).Name)
		}
		var timings mqtt.Timings
		switch f := reflect.ValueOf(&timings).Elem().Field(i).Addr().Interface().(type) {
		case *mqtt.Histogram:
			f.Count = 7
		case *[3]mqtt.Histogram:
			for q := range f {
				f[q].Count = 7
			}
		}
		for q, h := range m.of(&timings) {
			if h.Count != 7 {
				t.Errorf("%s %d shows another field", m.name, q)
			}
		}
		if got, want := len(m.of(&timings)) == 3, m.qos; got != want {
			t.Errorf("%s: one for each QoS: %v, want %v", m.name, got, want)
		}
	}
}

// Durations beyond the highest bound are in the highest bucket of both forms.
func TestTheLowestAndTheHighestBucketAreShown(t *testing.T) {
	var h mqtt.Histogram
	h.Buckets[0], h.Buckets[mqtt.HistogramBuckets-1], h.Count = 3, 2, 5
	h.Sum = 3 * time.Hour
	var out dto.Metric
	if err := newHistogram(prometheus.NewDesc("x", "x", nil, nil), &h, time.Now()).Write(&out); err != nil {
		t.Fatal(err)
	}
	got := out.Histogram
	if got.GetZeroCount() != 3 || len(got.PositiveSpan) != 1 || got.PositiveSpan[0].GetOffset() != 40 || got.PositiveDelta[0] != 2 {
		t.Errorf("zero bucket %d, spans %v, deltas %v", got.GetZeroCount(), got.PositiveSpan, got.PositiveDelta)
	}
	for _, b := range got.Bucket {
		if b.GetCumulativeCount() != 3 {
			t.Errorf("%d durations up to %v s, want 3", b.GetCumulativeCount(), b.GetUpperBound())
		}
	}
}
