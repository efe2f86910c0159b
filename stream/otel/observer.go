package mqttotel

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-millrace/mqtt"
)

// Observer returns the functions that make spans for Options.Observer: publish, receive and
// connect. A program with an Observer of its own calls these functions from it.
//
// They run on the goroutines of the client and pass each span to the span processors of the
// TracerProvider. The batching processor of the SDK never waits there, but drops spans when its
// queue is full. Do not use WithSyncer or WithBlocking outside of tests: the client would wait for
// the exporter. A message that gets no span because its trace is not sampled costs little. Each
// other message costs 1 to 2 µs, even if the sampler rejects its span; see
// TracingOptions.TracedOnly.
func (t *Tracing) Observer() *mqtt.Observer {
	return &mqtt.Observer{
		Published: func(row []mqtt.Published) {
			for i := range row {
				t.published(&row[i])
			}
		},
		Delivered: func(row []mqtt.Delivered) {
			for i := range row {
				t.delivered(&row[i])
			}
		},
		Attempt: t.attempted,
	}
}

func (t *Tracing) published(p *mqtt.Published) {
	parent, ok := t.wanted(&p.Message)
	if !ok {
		return
	}
	_, span := t.start(parent, publish, &p.Message, p.Accepted)
	if p.Err != nil {
		fail(span, p.Err)
	}
	span.End(trace.WithTimestamp(p.Accepted.Add(p.Took)))
}

func (t *Tracing) delivered(d *mqtt.Delivered) {
	parent, ok := t.wanted(&d.Message)
	if !ok {
		return
	}
	_, span := t.start(parent, receive, &d.Message, d.Received)
	span.End(trace.WithTimestamp(d.Received.Add(d.Waited)))
}

// wanted reports whether there is a span for m, and returns a context with the trace context of m.
// A trace that its root did not sample gets no spans, without a call of the sampler, which is
// slower.
func (t *Tracing) wanted(m *mqtt.Message) (parent context.Context, ok bool) {
	parent = t.Extract(context.Background(), *m)
	if c := trace.SpanContextFromContext(parent); c.IsValid() {
		return parent, c.IsSampled()
	}
	return parent, !t.tracedOnly
}

func (t *Tracing) attempted(a mqtt.Attempted) {
	server := serverOf(a.Endpoint)
	attributes := append([]attribute.KeyValue{system, semconv.MessagingOperationName("connect")}, t.attributes...)
	if a.Err == nil {
		t.server.Store(&server)
		attributes = append(attributes, server...) // after a failure Endpoint is that of another attempt
	}
	_, span := t.tracer.Start(context.Background(), "connect", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attributes...), trace.WithTimestamp(a.Began))
	if a.Err != nil {
		fail(span, a.Err)
	}
	span.End(trace.WithTimestamp(a.Began.Add(a.Took)))
}

// serverOf returns the attributes of an endpoint, which is a URL without user and query.
func serverOf(endpoint string) []attribute.KeyValue {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil
	}
	if u.Host == "" { // a Unix socket
		return []attribute.KeyValue{semconv.ServerAddress(u.Path)}
	}
	server := []attribute.KeyValue{semconv.ServerAddress(u.Hostname())}
	if port, err := strconv.Atoi(u.Port()); err == nil {
		server = append(server, semconv.ServerPort(port))
	}
	return server
}

// fail sets the status of a span that ended with err.
func fail(span trace.Span, err error) {
	span.SetStatus(codes.Error, err.Error())
	span.SetAttributes(semconv.ErrorTypeKey.String(errorType(err)))
}

// errorType returns the attribute error.type of an error.
func errorType(err error) string {
	for _, known := range []struct {
		err  error
		name string
	}{
		{mqtt.ErrRefused, "refused"},
		{mqtt.ErrKept, "kept"},
		{mqtt.ErrUnconfirmed, "unconfirmed"},
		{mqtt.ErrNotSent, "not_sent"},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	var rejected *mqtt.ConnectError
	var waited net.Error
	switch {
	case errors.As(err, &rejected):
		return "rejected"
	case errors.As(err, &waited) && waited.Timeout():
		return "timeout"
	}
	return semconv.ErrorTypeOther.Value.AsString()
}
