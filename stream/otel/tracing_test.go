package mqttotel_test

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
	mqttotel "github.com/go-millrace/mqtt/stream/otel"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

const (
	traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	traceID     = "0af7651916cd43dd8448eb211c80319c"
	spanID      = "b7ad6b7169203331"
)

// has demands that a span has attributes, and no other error.type.
func has(t *testing.T, s tracetest.SpanStub, want ...attribute.KeyValue) {
	t.Helper()
	set := attribute.NewSet(s.Attributes...)
	for _, a := range want {
		if v, ok := set.Value(a.Key); !ok || v != a.Value {
			t.Errorf("span %s: %s is %v, want %v", s.Name, a.Key, v.Emit(), a.Value.Emit())
		}
	}
	if v, ok := set.Value("error.type"); ok && s.Status.Code != codes.Error {
		t.Errorf("span %s: error.type %v and status %v", s.Name, v.Emit(), s.Status)
	}
}

func TestAPublicationIsASpanBelowTheSpanThatItsMessageCarries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := openTraced(t, mqtt.V5, mqttotel.TracingOptions{Attributes: []attribute.KeyValue{attribute.String("client", "gauge")}})
		c := client.broker.Handshake(false)
		synctest.Wait()
		ctx, caller := client.provider.Tracer("test").Start(context.Background(), "caller")
		m := mqtt.Message{Topic: "level", Payload: []byte("4.2"), QoS: mqtt.AtLeastOnce}
		client.Inject(ctx, client.State().Version, &m)
		caller.End()
		began := time.Now()
		sent := publish(t, client.Client, c, m, func(p frames.Publish) {
			time.Sleep(40 * time.Millisecond)
			c.Complete(p)
		})

		create, published := client.one(t, "create"), client.one(t, "publish")
		if create.SpanKind != trace.SpanKindProducer || create.Parent.SpanID() != caller.SpanContext().SpanID() {
			t.Errorf("create is %v below %v, want producer below %v", create.SpanKind, create.Parent.SpanID(), caller.SpanContext().SpanID())
		}
		if published.SpanKind != trace.SpanKindClient || published.Parent.SpanID() != create.SpanContext.SpanID() || !published.Parent.IsRemote() {
			t.Errorf("publish is %v below %v, want client below %v", published.SpanKind, published.Parent.SpanID(), create.SpanContext.SpanID())
		}
		if published.StartTime != began || published.EndTime != began.Add(40*time.Millisecond) || published.Status.Code != codes.Unset {
			t.Errorf("publish took from %v to %v: %v", published.StartTime, published.EndTime, published.Status)
		}
		has(t, create, attribute.String("messaging.operation.type", "create"), attribute.String("client", "gauge"))
		has(t, published,
			attribute.String("messaging.system", "mqtt"), attribute.String("messaging.operation.name", "publish"),
			attribute.String("messaging.operation.type", "send"), attribute.String("messaging.destination.name", "level"),
			attribute.Int("messaging.message.body.size", 3), attribute.Int("millrace.qos", 1),
			attribute.String("server.address", "broker"), attribute.Int("server.port", 1884), attribute.String("client", "gauge"))
		want := "00-" + create.SpanContext.TraceID().String() + "-" + create.SpanContext.SpanID().String() + "-01"
		if got, _ := sent.Properties.Get("traceparent"); got != want {
			t.Errorf("traceparent %s was sent, want %s", got, want)
		}
	})
}

func TestBeforeMQTT5AMessageStaysAsItIsAndItsSpanBeginsATrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := openTraced(t, mqtt.V311, mqttotel.TracingOptions{})
		c := client.broker.Handshake(false)
		synctest.Wait()
		ctx, caller := client.provider.Tracer("test").Start(context.Background(), "caller")
		defer caller.End()
		m := mqtt.Message{Topic: "level", Payload: []byte(`{"level": 4.2}`), QoS: mqtt.ExactlyOnce}
		before := m
		for _, v := range []mqtt.Version{client.State().Version, mqtt.V31, 0} {
			if client.Inject(ctx, v, &m); !reflect.DeepEqual(m, before) {
				t.Fatalf("at version %d Inject made %v of %v", v, m, before)
			}
		}
		sent := publish(t, client.Client, c, m, func(p frames.Publish) { c.Complete(p) })
		if string(sent.Payload) != `{"level": 4.2}` {
			t.Errorf("sent %s", sent.Payload)
		}
		if s := client.one(t, "publish"); s.Parent.IsValid() || len(client.named("create")) != 0 {
			t.Errorf("publish is below %v, and there are %d spans create", s.Parent, len(client.named("create")))
		}
	})
}

// Several messages may share their Properties, and a forwarded message has an older trace context.
func TestInjectReplacesATraceContextInACopyOfTheProperties(t *testing.T) {
	client := newTracing(t, mqttotel.TracingOptions{})
	shared := &mqtt.Properties{ContentType: "text/plain", User: []mqtt.UserProperty{
		{Name: "traceparent", Value: traceparent}, {Name: "tracestate", Value: "a=1"}, {Name: "unit", Value: "m"}}}
	m := mqtt.Message{Topic: "level", Properties: shared}
	client.Inject(context.Background(), mqtt.V5, &m)
	if got, _ := shared.Get("traceparent"); got != traceparent || len(shared.User) != 3 {
		t.Errorf("the shared properties are %v", shared.User)
	}
	names := make([]string, 0, 2)
	for _, u := range m.Properties.User {
		names = append(names, u.Name)
	}
	if got, _ := m.Properties.Get("traceparent"); got == traceparent || !slices.Equal(names, []string{"unit", "traceparent"}) || m.Properties.ContentType != "text/plain" {
		t.Errorf("the message has %v", m.Properties)
	}
}

func TestAnotherPropagatorUsesItsOwnProperties(t *testing.T) {
	client := newTracing(t, mqttotel.TracingOptions{Propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})})
	member, err := baggage.NewMember("plant", "north")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	m := mqtt.Message{Topic: "level"}
	client.Inject(baggage.ContextWithBaggage(context.Background(), bag), mqtt.V5, &m)
	got := client.Extract(context.Background(), m)
	if v := baggage.FromContext(got).Member("plant").Value(); v != "north" || !trace.SpanContextFromContext(got).IsRemote() {
		t.Errorf("%v arrived in %v", v, m.Properties)
	}
}

// newTracing returns a Tracing without a client. Its sampler takes every span, also the children of
// a span that is not sampled.
func newTracing(t *testing.T, o mqttotel.TracingOptions) *traced {
	c := &traced{spans: tracetest.NewInMemoryExporter()}
	c.provider = sdktrace.NewTracerProvider(sdktrace.WithSyncer(c.spans), sdktrace.WithSampler(sdktrace.AlwaysSample()))
	t.Cleanup(func() { c.provider.Shutdown(context.Background()) })
	o.TracerProvider = c.provider
	c.Tracing = mqttotel.NewTracing(&o)
	return c
}

func TestADeliveryAndItsProcessingAreSpansBelowTheSpanOfThePublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := openTraced(t, mqtt.V5, mqttotel.TracingOptions{})
		sub, err := client.Declare(mqtt.Filter{Topic: "level", QoS: mqtt.AtLeastOnce})
		if err != nil {
			t.Fatal(err)
		}
		c := client.broker.Handshake(false)
		c.Grant(streamtest.Next[frames.Subscribe](c))
		time.Sleep(time.Second)
		began := time.Now()
		c.Send(frames.Publish{ID: 1, Message: mqtt.Message{Topic: "level", Payload: []byte("4.2"), QoS: mqtt.AtLeastOnce,
			Properties: &mqtt.Properties{User: []mqtt.UserProperty{{Name: "traceparent", Value: traceparent}, {Name: "tracestate", Value: "a=1"}}}}})
		time.Sleep(time.Second) // the consumer comes late
		d := <-sub.Deliveries()
		around, caller := client.provider.Tracer("test").Start(context.Background(), "caller")
		ctx, span := client.Process(around, d.Message)
		time.Sleep(40 * time.Millisecond)
		d.Ack()
		span.End()
		caller.End()
		c.Expect(frames.Ack{Kind: frames.TypePuback, ID: 1})

		received, processed := client.one(t, "receive"), client.one(t, "process")
		for _, s := range []tracetest.SpanStub{received, processed} {
			if s.Parent.TraceID().String() != traceID || s.Parent.SpanID().String() != spanID || s.Parent.TraceState().String() != "a=1" {
				t.Errorf("%s is below %v", s.Name, s.Parent)
			}
		}
		if received.SpanKind != trace.SpanKindClient || received.StartTime != began || received.EndTime != began.Add(time.Second) {
			t.Errorf("receive is %v from %v to %v", received.SpanKind, received.StartTime, received.EndTime)
		}
		if processed.SpanKind != trace.SpanKindConsumer || processed.EndTime.Sub(processed.StartTime) != 40*time.Millisecond {
			t.Errorf("process is %v from %v to %v", processed.SpanKind, processed.StartTime, processed.EndTime)
		}
		if l := processed.Links; len(l) != 1 || l[0].SpanContext.SpanID() != caller.SpanContext().SpanID() {
			t.Errorf("process has the links %v, want one to %v", l, caller.SpanContext().SpanID())
		}
		if trace.SpanContextFromContext(ctx).SpanID() != processed.SpanContext.SpanID() {
			t.Error("the context of Process has another span")
		}
		has(t, received, attribute.String("messaging.operation.type", "receive"), attribute.String("messaging.destination.name", "level"))
		has(t, processed, attribute.String("messaging.operation.type", "process"), attribute.String("server.address", "broker"))
	})
}

func TestAMessageWithoutTraceContextIsProcessedBelowTheSpanOfItsCaller(t *testing.T) {
	client := newTracing(t, mqttotel.TracingOptions{})
	around, caller := client.provider.Tracer("test").Start(context.Background(), "caller")
	_, span := client.Process(around, mqtt.Message{Topic: "level"})
	span.End()
	if s := client.one(t, "process"); s.Parent.SpanID() != caller.SpanContext().SpanID() || len(s.Links) != 0 {
		t.Errorf("process is below %v with the links %v", s.Parent, s.Links)
	}
}

func TestATemplateBecomesPartOfTheNamesOfSpans(t *testing.T) {
	client := newTracing(t, mqttotel.TracingOptions{Template: func(string) string { return "plants/{id}" }})
	_, span := client.Process(context.Background(), mqtt.Message{Topic: "plants/7"})
	span.End()
	has(t, client.one(t, "process plants/{id}"),
		attribute.String("messaging.destination.template", "plants/{id}"), attribute.String("messaging.destination.name", "plants/7"))
}
