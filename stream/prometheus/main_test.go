package mqttprom_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The formats that a server of Prometheus asks for, by the header Accept.
const (
	asText     = "text/plain;version=0.0.4"
	asProtobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

// scrape returns the response of promhttp to a scrape.
func scrape(t *testing.T, r *prometheus.Registry, accept string) *http.Response {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{DisableCompression: true}).ServeHTTP(w, request)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Result()
}

// families returns the metrics of a scrape by name.
func families(t *testing.T, r *prometheus.Registry, accept string) map[string]*dto.MetricFamily {
	t.Helper()
	response := scrape(t, r, accept)
	decoder := expfmt.NewDecoder(response.Body, expfmt.ResponseFormat(response.Header))
	got := map[string]*dto.MetricFamily{}
	for {
		family := new(dto.MetricFamily)
		if err := decoder.Decode(family); err != nil {
			return got // io.EOF; the tests demand the families that they need
		}
		got[family.GetName()] = family
	}
}

// value returns the value of the metric with a name that has no label of its own.
func value(t *testing.T, of map[string]*dto.MetricFamily, name string) float64 {
	t.Helper()
	f := of[name]
	switch {
	case f == nil || len(f.Metric) != 1:
		t.Fatalf("%s: %v, want one metric", name, f)
	case f.Metric[0].Counter != nil:
		return f.Metric[0].Counter.GetValue()
	case f.Metric[0].Gauge != nil:
		return f.Metric[0].Gauge.GetValue()
	}
	t.Fatalf("%s is neither a counter nor a gauge: %v", name, f)
	return 0
}

// versions runs a test for each version of the protocol.
func versions(t *testing.T, test func(*testing.T, mqtt.Version)) {
	for name, v := range map[string]mqtt.Version{"3.1.1": mqtt.V311, "5": mqtt.V5} {
		t.Run(name, func(t *testing.T) { test(t, v) })
	}
}

// open returns a client of a scripted broker. It must run in a bubble.
func open(t *testing.T, v mqtt.Version) (*mqtt.Client, *streamtest.Broker) {
	t.Helper()
	b := streamtest.New(t)
	client, err := mqtt.Open("mqtt://broker", &mqtt.Options{Version: v, DialContext: b.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client, b
}
