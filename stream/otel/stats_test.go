package mqttotel

import (
	"math"
	"reflect"
	"regexp"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

// Each field of Stats has a metric that shows this field and no other.
func TestEveryFieldOfStatsIsAMetricOfItsValue(t *testing.T) {
	of := reflect.TypeFor[mqtt.Stats]()
	shownCounts, shownAges := counts[2:], ages // without the metrics of the conventions
	name := regexp.MustCompile(`^millrace(\.[a-z]+(_[a-z]+)*)+$`)
	for i := range of.NumField() {
		var s mqtt.Stats
		field, value := of.Field(i), reflect.ValueOf(&s).Elem().Field(i)
		if field.Type == reflect.TypeFor[time.Duration]() {
			if len(shownAges) == 0 || shownAges[0].field != field.Name {
				t.Fatalf("ages have no row for %s at its place", field.Name)
			}
			m := shownAges[0]
			value.SetInt(7)
			if got := m.value(&s); got != 7 || !name.MatchString(m.name) {
				t.Errorf("%s is %v, but %s is 7", m.name, got, field.Name)
			}
			shownAges = shownAges[1:]
			continue
		}
		if len(shownCounts) == 0 || shownCounts[0].field != field.Name {
			t.Fatalf("counts have no row for %s at its place", field.Name)
		}
		m, want := shownCounts[0], int64(7)
		switch value.Kind() {
		case reflect.Uint64:
			value.SetUint(7)
		case reflect.Int:
			value.SetInt(7)
		case reflect.Bool:
			value.SetBool(true)
			want = 1
		default:
			t.Fatalf("%s has a type that this test does not know", field.Name)
		}
		if got := m.value(&s); got != want || !name.MatchString(m.name) {
			t.Errorf("%s is %v, but %s is %v", m.name, got, field.Name, want)
		}
		if counter := value.Kind() == reflect.Uint64; m.sum != counter {
			t.Errorf("%s: %s is a counter: %v", m.name, field.Name, counter)
		}
		shownCounts = shownCounts[1:]
	}
	if len(shownCounts)+len(shownAges) > 0 {
		t.Errorf("no field of Stats: %v %v", shownCounts, shownAges)
	}
}

func TestRetransmissionsAreNoSentMessages(t *testing.T) {
	s := mqtt.Stats{Sent: 9, Resent: 2, HandedOver: 5}
	if sent, consumed := counts[0].value(&s), counts[1].value(&s); sent != 7 || consumed != 5 {
		t.Errorf("%d sent and %d consumed, want 7 and 5", sent, consumed)
	}
}

func TestEveryFieldOfTimingsIsAHistogramOfItsValues(t *testing.T) {
	of := reflect.TypeFor[mqtt.Timings]()
	if of.NumField() != len(histograms) {
		t.Fatalf("%d fields, %d metrics", of.NumField(), len(histograms))
	}
	for i, m := range histograms {
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
		if one := len(m.of(&timings)) == 1; one == m.qos {
			t.Errorf("%s: one for each QoS: %v, want %v", m.name, !one, m.qos)
		}
	}
}

// The lowest bucket is the zero bucket, the highest has the index below that of a native histogram.
func TestTheLowestAndTheHighestBucketAreShown(t *testing.T) {
	var h mqtt.Histogram
	h.Buckets[0], h.Buckets[1], h.Buckets[mqtt.HistogramBuckets-1], h.Count = 3, 1, 2, 6
	p := histograms[1].point(&produced{}, 0, &h, time.Now())
	if n := len(p.PositiveBucket.Counts); p.ZeroCount != 3 || p.ZeroThreshold != math.Exp2(-20) || p.PositiveBucket.Offset != -80 || n != 120 || p.PositiveBucket.Counts[n-1] != 2 {
		t.Errorf("%+v", p)
	}
	if p := histograms[1].point(&produced{}, 0, new(mqtt.Histogram), time.Now()); len(p.PositiveBucket.Counts) != 0 {
		t.Errorf("an empty histogram: %+v", p)
	}
}
