package mqttotel_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
	mqttotel "github.com/go-millrace/mqtt/stream/otel"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestAPublicationThatFailedIsASpanWithAnError(t *testing.T) {
	for name, test := range map[string]struct {
		version mqtt.Version
		answer  func(*streamtest.Conn, frames.Publish)
	}{
		"refused": {mqtt.V5, func(c *streamtest.Conn, p frames.Publish) {
			c.Send(frames.Ack{Kind: frames.TypePuback, ID: p.ID, AckReason: frames.AckReason{Code: mqtt.QuotaExceeded}})
		}},
		"unconfirmed": {mqtt.V311, func(c *streamtest.Conn, _ frames.Publish) { c.Drop() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := openTraced(t, test.version, mqttotel.TracingOptions{})
				c := client.broker.Handshake(false)
				publish(t, client.Client, c, mqtt.Message{Topic: "level", QoS: mqtt.AtLeastOnce}, func(p frames.Publish) { test.answer(c, p) })
				s := client.one(t, "publish")
				if s.Status.Code != codes.Error || s.Status.Description == "" {
					t.Errorf("the status is %v", s.Status)
				}
				has(t, s, attribute.String("error.type", name))
			})
		})
	}
}

// A message of a closed client was never sent.
func TestAQueuedPublicationThatEndsWithTheClientIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := openTraced(t, mqtt.V5, mqttotel.TracingOptions{})
		ended := make(chan error, 1)
		go func() {
			ended <- client.Publish(context.Background(), mqtt.Message{Topic: "level", QoS: mqtt.AtLeastOnce})
		}()
		synctest.Wait()
		client.Close()
		<-ended
		has(t, client.one(t, "publish"), attribute.String("error.type", "not_sent"))
	})
}

func TestConnectionAttemptsAreSpans(t *testing.T) {
	versions(t, func(t *testing.T, v mqtt.Version) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			client := openTraced(t, v, mqttotel.TracingOptions{})
			c := client.broker.Accept()
			c.ExpectConnect()
			time.Sleep(30 * time.Millisecond)
			c.Send(frames.Connack{Code: mqtt.NotAuthorized})
			c.ExpectClosed()
			client.broker.Handshake(false)
			synctest.Wait()

			spans := client.named("connect")
			if len(spans) != 2 {
				t.Fatalf("%d spans, want 2", len(spans))
			}
			if s := spans[0]; s.SpanKind != trace.SpanKindClient || s.StartTime != began || s.EndTime != began.Add(30*time.Millisecond) || s.Status.Code != codes.Error {
				t.Errorf("%v from %v to %v: %v", s.SpanKind, s.StartTime, s.EndTime, s.Status)
			}
			has(t, spans[0], attribute.String("error.type", "rejected"))
			has(t, spans[1], attribute.String("server.address", "broker"), attribute.Int("server.port", 1884), attribute.String("messaging.operation.name", "connect"))
			if spans[1].Status.Code != codes.Unset {
				t.Errorf("the second attempt has the status %v", spans[1].Status)
			}
		})
	})
}

func TestAnAttemptWithoutAnswerIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := openTraced(t, mqtt.V5, mqttotel.TracingOptions{})
		client.broker.Accept().ExpectConnect()
		time.Sleep(11 * time.Second) // ConnectTimeout is 10 s
		synctest.Wait()
		has(t, client.one(t, "connect"), attribute.String("error.type", "timeout"))
	})
}

func TestAMessageWhoseTraceIsNotSampledHasNoSpans(t *testing.T) {
	unsampled := traceparent[:len(traceparent)-1] + "0"
	for name, test := range map[string]struct {
		parent     string
		tracedOnly bool
		want       int
	}{
		"sampled":              {traceparent, true, 1},
		"not sampled":          {unsampled, false, 0},
		"no trace":             {"", false, 1},
		"no trace, TracedOnly": {"", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			client := newTracing(t, mqttotel.TracingOptions{TracedOnly: test.tracedOnly})
			m := mqtt.Message{Topic: "level"}
			if test.parent != "" {
				m.Properties = &mqtt.Properties{User: []mqtt.UserProperty{{Name: "traceparent", Value: test.parent}}}
			}
			client.Observer().Published([]mqtt.Published{{Receipt: mqtt.Receipt{Message: m}}})
			client.Observer().Delivered([]mqtt.Delivered{{Message: m}})
			if p, r := len(client.named("publish")), len(client.named("receive")); p != test.want || r != test.want {
				t.Errorf("%d spans publish and %d receive, want %d of each", p, r, test.want)
			}
		})
	}
}

// The Observer may see an event later than it happened.
func TestASpanHasTheTimesOfItsEvent(t *testing.T) {
	began := time.Now().Add(-time.Hour)
	client := newTracing(t, mqttotel.TracingOptions{})
	client.Observer().Published([]mqtt.Published{{Accepted: began, Took: time.Second}})
	client.Observer().Delivered([]mqtt.Delivered{{Received: began, Waited: time.Second}})
	client.Observer().Attempt(mqtt.Attempted{Began: began, Took: time.Second})
	for _, name := range []string{"publish", "receive", "connect"} {
		if s := client.one(t, name); !s.StartTime.Equal(began) || !s.EndTime.Equal(began.Add(time.Second)) {
			t.Errorf("%s took from %v to %v, want a second from %v", name, s.StartTime, s.EndTime, began)
		}
	}
}

// stuck is an exporter that does not return before its channel is closed.
type stuck chan struct{}

func (s stuck) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	<-s
	return nil
}

func (stuck) Shutdown(context.Context) error { return nil }

func TestAnExporterThatHangsDoesNotHoldUpTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exporter := make(stuck)
		provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(4), sdktrace.WithMaxExportBatchSize(1)))
		defer provider.Shutdown(context.Background())
		defer close(exporter)
		tracing := mqttotel.NewTracing(&mqttotel.TracingOptions{TracerProvider: provider})
		client, b := open(t, mqtt.V5, tracing.Observer())
		c := b.Handshake(false)
		began := time.Now()
		for range 50 {
			publish(t, client, c, mqtt.Message{Topic: "level", QoS: mqtt.AtLeastOnce}, func(p frames.Publish) { c.Complete(p) })
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("50 publications took %v", took)
		}
	})
}
