package mqttotel

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-millrace/mqtt"
)

// qosKey is the attribute for the QoS of a message, for which the conventions have none.
const qosKey = attribute.Key("millrace.qos")

// TracingOptions configure NewTracing. The zero value and nil select the defaults.
type TracingOptions struct {
	// TracerProvider makes the spans. nil is the global TracerProvider.
	TracerProvider trace.TracerProvider

	// Propagator writes the trace context into messages and reads it. nil is
	// propagation.TraceContext, which is traceparent and tracestate, and not the global propagator.
	Propagator propagation.TextMapPropagator

	// Template returns a short form of a topic, such as sensors/{id}/level, with few different
	// results. The result becomes part of the names of spans and the attribute
	// messaging.destination.template. With nil the spans have neither, since there may be as many
	// topics as messages; the attribute messaging.destination.name has the topic. The Observer
	// calls Template, so it must return soon.
	Template func(topic string) string

	// TracedOnly makes spans publish and receive only for messages that carry a trace context.
	// Otherwise a message without one, as on MQTT 3.1.1, gets spans that begin a trace.
	TracedOnly bool

	// Attributes belong to every span.
	Attributes []attribute.KeyValue
}

// Tracing makes spans from the events of one client. Its methods may be called from any goroutine.
type Tracing struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	template   func(string) string
	tracedOnly bool
	attributes []attribute.KeyValue
	server     atomic.Pointer[[]attribute.KeyValue] // the endpoint of the last connection
}

// NewTracing returns a Tracing for one client. Use its Observer in the Options of that client.
func NewTracing(o *TracingOptions) *Tracing {
	if o == nil {
		o = new(TracingOptions)
	}
	provider, propagator := o.TracerProvider, o.Propagator
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	if propagator == nil {
		propagator = propagation.TraceContext{}
	}
	return &Tracing{
		tracer:     provider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		propagator: propagator,
		template:   o.Template,
		tracedOnly: o.TracedOnly,
		attributes: slices.Clone(o.Attributes),
	}
}

// Inject makes a span create, a child of the span in ctx, and writes its trace context into the
// user properties of m, in place of an older trace context. Inject changes a copy of the
// properties, since other messages may share them. Call it before you publish the message.
//
// The parameter version is State.Version of the client. For every version other than mqtt.V5, and
// for 0 before the first connection, Inject does nothing, since these versions cannot carry
// properties. If the next connection may have an older version, set Options.V5.Lossy, so that
// waiting messages are sent without properties.
func (t *Tracing) Inject(ctx context.Context, version mqtt.Version, m *mqtt.Message) {
	if version != mqtt.V5 {
		return
	}
	ctx, span := t.start(ctx, create, m, time.Time{})
	defer span.End()
	c := carrier{m}
	c.remove(t.propagator.Fields())
	t.propagator.Inject(ctx, c)
}

// Extract returns ctx with the trace context of m, or ctx if m has none.
func (t *Tracing) Extract(ctx context.Context, m mqtt.Message) context.Context {
	return t.propagator.Extract(ctx, carrier{&m})
}

// Process makes a span process for a message that the caller begins to process, and returns a
// context with that span. The caller ends the span. Its parent is the trace context of the message;
// if ctx has a span too, the new span has a link to it. If the message has no trace context, the
// parent is the span in ctx.
//
//	ctx, span := tracing.Process(ctx, d.Message)
//	err := handle(ctx, d)
//	d.Ack()
//	span.End()
func (t *Tracing) Process(ctx context.Context, m mqtt.Message) (context.Context, trace.Span) {
	around := trace.SpanContextFromContext(ctx)
	parent := t.Extract(ctx, m)
	var options []trace.SpanStartOption
	if around.IsValid() && !trace.SpanContextFromContext(parent).Equal(around) {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: around}))
	}
	return t.start(parent, process, &m, time.Time{}, options...)
}

// An operation is a kind of span.
type operation struct {
	name       string
	kind       trace.SpanKind
	attributes []attribute.KeyValue
}

func newOperation(name string, kind trace.SpanKind, of attribute.KeyValue) *operation {
	return &operation{name, kind, []attribute.KeyValue{system, semconv.MessagingOperationName(name), of}}
}

// The semantic conventions for messaging define the kinds. A message has the context of a span
// create, so publish is not PRODUCER.
var (
	create  = newOperation("create", trace.SpanKindProducer, semconv.MessagingOperationTypeCreate)
	publish = newOperation("publish", trace.SpanKindClient, semconv.MessagingOperationTypeSend)
	receive = newOperation("receive", trace.SpanKindClient, semconv.MessagingOperationTypeReceive)
	process = newOperation("process", trace.SpanKindConsumer, semconv.MessagingOperationTypeProcess)
)

// start starts a span for m. It begins at the time began, or now if that is zero. The parameter
// more has further options.
func (t *Tracing) start(ctx context.Context, o *operation, m *mqtt.Message, began time.Time, more ...trace.SpanStartOption) (context.Context, trace.Span) {
	name, attributes := o.name, t.attributesOf(o, m)
	if t.template != nil {
		template := t.template(m.Topic)
		name += " " + template
		attributes = append(attributes, semconv.MessagingDestinationTemplate(template))
	}
	options := append(make([]trace.SpanStartOption, 0, 4), trace.WithSpanKind(o.kind), trace.WithAttributes(attributes...))
	if !began.IsZero() {
		options = append(options, trace.WithTimestamp(began))
	}
	return t.tracer.Start(ctx, name, append(options, more...)...)
}

// attributesOf returns the attributes of a span for m, in a slice with room for one more.
func (t *Tracing) attributesOf(o *operation, m *mqtt.Message) []attribute.KeyValue {
	server := t.endpoint()
	attributes := make([]attribute.KeyValue, 0, len(o.attributes)+len(t.attributes)+len(server)+4)
	attributes = append(append(append(attributes, o.attributes...), t.attributes...), server...)
	return append(attributes, semconv.MessagingDestinationName(m.Topic), semconv.MessagingMessageBodySize(len(m.Payload)), qosKey.Int(int(m.QoS)))
}

// endpoint returns the attributes of the broker of the last connection.
func (t *Tracing) endpoint() []attribute.KeyValue {
	if server := t.server.Load(); server != nil {
		return *server
	}
	return nil
}
