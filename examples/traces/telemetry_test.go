package main

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/examples/internal/exampletest"
	mqttotel "github.com/go-millrace/mqtt/stream/otel"
)

// The instrumentation scopes of the program.
var (
	ofClient  = source{"traces", "github.com/go-millrace/mqtt/stream/otel", semconv.SchemaURL}
	ofProgram = source{"traces", "traces", ""}
)

// wantedSpan describes a span of a message.
type wantedSpan struct {
	parent string // the name of its parent; empty for a root
	remote bool   // the message brings the parent
	kind   tracepb.Span_SpanKind
	typ    string // messaging.operation.type
}

var wantedSpans = map[string]wantedSpan{
	"measure": {"", false, tracepb.Span_SPAN_KIND_INTERNAL, ""},
	"create":  {"measure", false, tracepb.Span_SPAN_KIND_PRODUCER, "create"},
	"publish": {"create", true, tracepb.Span_SPAN_KIND_CLIENT, "send"},
	"receive": {"create", true, tracepb.Span_SPAN_KIND_CLIENT, "receive"},
	"process": {"create", true, tracepb.Span_SPAN_KIND_CONSUMER, "process"},
}

// startExport starts the program with short intervals.
func startExport(t *testing.T, collector string) *exampletest.Program {
	t.Helper()
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
	return exampletest.Start(t, "-every", "20ms", "-otlp", collector)
}

func TestTheCollectorGetsTheTraceOfEachMessage(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	r := startReceiver(t)
	p := startExport(t, r.url)
	server, err := url.Parse(p.Find(`^broker +(mqtt://\S+),`))
	if err != nil {
		t.Fatal(err)
	}
	r.await(t, func() bool { return len(r.named("process")) > 3 })
	for _, line := range p.Interrupt() {
		if strings.HasPrefix(line, "span") || strings.HasPrefix(line, "collector") {
			t.Errorf("the program printed %q", line)
		}
	}
	if len(r.encoding) != 1 || !r.encoding["gzip"] {
		t.Errorf("the requests have the encodings %v", r.encoding)
	}
	traces := map[string]map[string]receivedSpan{} // by identifier and name
	for _, s := range r.spans {
		spans := traces[string(s.TraceId)]
		if spans == nil {
			spans = map[string]receivedSpan{}
			traces[string(s.TraceId)] = spans
		}
		if _, twice := spans[s.Name]; twice {
			t.Errorf("a trace has two spans %s", s.Name)
		}
		spans[s.Name] = s
	}
	for _, s := range r.named("process") {
		checkTrace(t, traces[string(s.TraceId)], server)
	}
	if n := len(r.named("connect")); n != 1 {
		t.Errorf("%d spans connect, want 1", n)
	}
}

// checkTrace checks the spans of one message, by their names.
func checkTrace(t *testing.T, spans map[string]receivedSpan, server *url.URL) {
	t.Helper()
	if len(spans) != len(wantedSpans) {
		t.Errorf("the spans of a trace are %v", slices.Sorted(maps.Keys(spans)))
		return
	}
	port, _ := strconv.Atoi(server.Port())
	for name, want := range wantedSpans {
		s := spans[name]
		remote := s.Flags&uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK) != 0
		if s.Span == nil || string(s.ParentSpanId) != string(spans[want.parent].GetSpanId()) || remote != want.remote {
			t.Errorf("span %s has not the parent %q of its trace: %v", name, want.parent, s.Span)
			continue
		}
		if s.Kind != want.kind || len(s.Links) != 0 || s.Status.GetCode() != tracepb.Status_STATUS_CODE_UNSET || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("the kind, the links, the status or the times are wrong: %v", s.Span)
		}
		from, attributes := ofProgram, map[string]any{}
		if name != "measure" {
			from = ofClient
			attributes = map[string]any{
				"messaging.system": "mqtt", "messaging.operation.name": name, "messaging.operation.type": want.typ,
				"messaging.destination.name": "demo/level", "messaging.message.body.size": 3, "millrace.qos": 1,
				"server.address": server.Hostname(), "server.port": port,
			}
		}
		if got := values(s.Attributes); s.source != from || !maps.Equal(got, attributes) {
			t.Errorf("span %s of %v has the attributes %v, want %v of %v", name, s.source, got, attributes, from)
		}
	}
}

// The program processes each message alone. A consumer with a span around several messages gets
// links.
func TestTheCollectorGetsLinksAndFailures(t *testing.T) {
	r := startReceiver(t)
	exported, err := newTelemetry(t.Context(), r.url+"/")
	if err != nil {
		t.Fatal(err)
	}
	tracing := mqttotel.NewTracing(&mqttotel.TracingOptions{TracerProvider: exported.tracers})
	m := mqtt.Message{Topic: "demo/level"}
	tracing.Inject(t.Context(), mqtt.V5, &m)
	tracing.Observer().Published([]mqtt.Published{{Receipt: mqtt.Receipt{Message: m, Err: mqtt.ErrRefused}, Accepted: time.Now()}})
	ctx, batch := exported.tracers.Tracer("test").Start(t.Context(), "batch")
	_, span := tracing.Process(ctx, m)
	span.End()
	batch.End()
	exported.shutdown(context.Background())

	if len(r.spans) != 4 {
		t.Fatalf("the spans are %v, want create, publish, process and batch", r.spans)
	}
	create, publish, process, around := r.named("create")[0], r.named("publish")[0], r.named("process")[0], r.named("batch")[0]
	if string(process.ParentSpanId) != string(create.SpanId) || len(process.Links) != 1 || string(process.Links[0].SpanId) != string(around.SpanId) ||
		string(process.Links[0].TraceId) != string(around.TraceId) {
		t.Errorf("process has not the parent create and a link to batch: %v", process.Span)
	}
	if publish.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR || values(publish.Attributes)["error.type"] != "refused" {
		t.Errorf("publish shows no failure: %v", publish.Span)
	}
}

func TestAWrongURLOfTheCollectorIsRejected(t *testing.T) {
	for _, s := range []string{"localhost:4318", "localhost", "mqtt://localhost:4318", "http://", "http:///v1", "http://local host", "http://:4318",
		"http://localhost:otlp", "http://localhost:4318?tenant=1", "http://localhost:4318#1", "http://user:secret@localhost:4318"} {
		_, err := newTelemetry(t.Context(), s)
		if err == nil || !strings.HasPrefix(err.Error(), "-otlp: ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", s, err)
		}
	}
	exampletest.Start(t, "-otlp", "localhost:4318").Fail(`-otlp: "localhost:4318" is not like http://localhost:4318`)
}
