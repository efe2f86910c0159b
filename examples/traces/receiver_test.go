package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// patience is the timeout for each expected request.
const patience = 30 * time.Second

// A receiver is a collector in memory: it decodes requests of OTLP over HTTP and keeps their
// content.
type receiver struct {
	url     string
	changed chan struct{} // gets a value, if it has room, after each request

	mu       sync.Mutex
	requests int
	status   int             // the answer to requests
	encoding map[string]bool // the values of Content-Encoding
	spans    []receivedSpan
	metrics  []receivedMetric // of the last request
}

// A source says where a span or a metric comes from.
type source struct{ service, scope, schema string }

type receivedSpan struct {
	*tracepb.Span
	source source
}

type receivedMetric struct {
	*metricspb.Metric
	source source
}

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{changed: make(chan struct{}, 1), status: http.StatusOK, encoding: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, req *http.Request) {
		r.serve(w, req, new(collectortrace.ExportTraceServiceRequest), new(collectortrace.ExportTraceServiceResponse))
	})
	mux.HandleFunc("POST /v1/metrics", func(w http.ResponseWriter, req *http.Request) {
		r.serve(w, req, new(collectormetrics.ExportMetricsServiceRequest), new(collectormetrics.ExportMetricsServiceResponse))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

// serve decodes a request into message, keeps it and answers it.
func (r *receiver) serve(w http.ResponseWriter, req *http.Request, message, answer proto.Message) {
	if err := decode(req, message); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, err := proto.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	status := r.keep(req.Header.Get("Content-Encoding"), message)
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(status)
	w.Write(body)
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func decode(req *http.Request, message proto.Message) error {
	if got := req.Header.Get("Content-Type"); got != "application/x-protobuf" {
		return fmt.Errorf("content type %q", got)
	}
	body := io.Reader(req.Body)
	switch encoding := req.Header.Get("Content-Encoding"); encoding {
	case "":
	case "gzip":
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = unzipped
	default:
		return fmt.Errorf("content encoding %q", encoding)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return proto.Unmarshal(b, message)
}

// keep keeps the content of a request, unless it will be refused, and returns the status of the
// answer.
func (r *receiver) keep(encoding string, message proto.Message) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	r.encoding[encoding] = true
	if r.status != http.StatusOK {
		return r.status
	}
	switch m := message.(type) {
	case *collectortrace.ExportTraceServiceRequest:
		for _, from := range m.ResourceSpans {
			for _, scope := range from.ScopeSpans {
				for _, span := range scope.Spans {
					r.spans = append(r.spans, receivedSpan{span, newSource(from.Resource, scope.Scope, scope.SchemaUrl)})
				}
			}
		}
	case *collectormetrics.ExportMetricsServiceRequest:
		r.metrics = nil
		for _, from := range m.ResourceMetrics {
			for _, scope := range from.ScopeMetrics {
				for _, metric := range scope.Metrics {
					r.metrics = append(r.metrics, receivedMetric{metric, newSource(from.Resource, scope.Scope, scope.SchemaUrl)})
				}
			}
		}
	}
	return r.status
}

func newSource(of *resourcepb.Resource, scope *commonpb.InstrumentationScope, schema string) source {
	service, _ := values(of.GetAttributes())["service.name"].(string)
	return source{service, scope.GetName(), schema}
}

// answer sets the status of the answers from now on, and counts requests from 0.
func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests, r.status = 0, status
}

// await waits until done returns true. done may read r.
func (r *receiver) await(t *testing.T, done func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		ok := done()
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-r.changed:
		case <-timeout:
			t.Fatal("the collector did not get the expected requests")
		}
	}
}

// named returns the spans with a name.
func (r *receiver) named(name string) (spans []receivedSpan) {
	for _, s := range r.spans {
		if s.Name == name {
			spans = append(spans, s)
		}
	}
	return spans
}

// durations returns the data of a metric that is an exponential histogram, or nil.
func (r *receiver) durations(name string) []*metricspb.ExponentialHistogramDataPoint {
	for _, m := range r.metrics {
		if m.Name == name {
			return m.GetExponentialHistogram().GetDataPoints()
		}
	}
	return nil
}

// values returns attributes as a map. A value that is neither a string nor an integer is nil.
func values(attributes []*commonpb.KeyValue) map[string]any {
	all := map[string]any{}
	for _, a := range attributes {
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			all[a.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			all[a.Key] = int(v.IntValue)
		default:
			all[a.Key] = nil
		}
	}
	return all
}
