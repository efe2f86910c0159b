package cloudeventsmqtt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	bindingtest "github.com/cloudevents/sdk-go/v2/binding/test"
	"github.com/cloudevents/sdk-go/v2/binding/transformer"
	"github.com/cloudevents/sdk-go/v2/client"
	cecontext "github.com/cloudevents/sdk-go/v2/context"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/protocol"
	protocoltest "github.com/cloudevents/sdk-go/v2/protocol/test"
	"github.com/cloudevents/sdk-go/v2/test"

	"github.com/go-millrace/mqtt"
	cloudeventsmqtt "github.com/go-millrace/mqtt/integration/cloudevents"
)

// again is when an event comes again that was not processed.
const again = 10 * time.Millisecond

// pair is the Sender and the Receiver of one topic.
type pair struct {
	*cloudeventsmqtt.Sender
	*cloudeventsmqtt.Receiver
	client *mqtt.Client
	sub    *mqtt.Subscription
}

func newPair(t testing.TB, url, topic string, qos mqtt.QoS) *pair {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := mqtt.Dial(ctx, url, &mqtt.Options{Window: 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	sub, err := c.Subscribe(ctx, mqtt.Filter{Topic: topic, QoS: qos})
	if err != nil {
		t.Fatal(err)
	}
	return &pair{cloudeventsmqtt.NewSender(c, topic, qos), cloudeventsmqtt.NewReceiver(sub, again), c, sub}
}

// modes are the forms in which a message can come to Send. The mode on the wire is structured for
// all of them: binary mode needs the user properties of MQTT 5, so no test expects it.
var modes = map[string]func(testing.TB, event.Event) binding.Message{
	"event": func(_ testing.TB, e event.Event) binding.Message { return binding.ToMessage(&e) },
	"structured": func(t testing.TB, e event.Event) binding.Message {
		return bindingtest.MustCreateMockStructuredMessage(t, e)
	},
	"binary": func(_ testing.TB, e event.Event) binding.Message { return bindingtest.MustCreateMockBinaryMessage(e) },
}

func TestEachEventArrivesInStructuredMode(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		for name, message := range modes {
			for _, qos := range []mqtt.QoS{mqtt.AtMostOnce, mqtt.AtLeastOnce, mqtt.ExactlyOnce} {
				t.Run(fmt.Sprint(name, ", QoS ", qos), func(t *testing.T) {
					t.Parallel() // because SendReceive sleeps for a second
					var running sync.WaitGroup
					for _, e := range test.Events() {
						p := newPair(t, url, fmt.Sprintf("%s/%d/%s", name, qos, e.ID()), qos)
						running.Go(func() {
							protocoltest.SendReceive(t, t.Context(), message(t, e), p, p, func(out binding.Message) {
								if out.ReadEncoding() != binding.EncodingStructured {
									t.Error("encoding is", out.ReadEncoding())
								}
								assertSame(t, e, test.MustToEvent(t, t.Context(), out))
							})
						})
					}
					running.Wait()
				})
			}
		}
	})
}

// assertSame compares events. JSON has no types for extensions, so they are compared as strings.
func assertSame(t *testing.T, in, out event.Event) {
	t.Helper()
	test.AssertEventEquals(t, test.ConvertEventExtensionsToString(t, in), test.ConvertEventExtensionsToString(t, out))
}

func TestTransformersActOnAllMessages(t *testing.T) {
	url := startMochi(t)
	for name, message := range modes {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, url, "transformed/"+name, mqtt.AtLeastOnce)
			want := test.FullEvent()
			if err := p.Send(t.Context(), message(t, want), transformer.AddExtension("added", "yes")); err != nil {
				t.Fatal(err)
			}
			out := receive(t, p)
			defer out.Finish(nil)
			want.SetExtension("added", "yes")
			assertSame(t, want, test.MustToEvent(t, t.Context(), out))
		})
	}
}

func receive(t *testing.T, r protocol.Receiver) binding.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m, err := r.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The client of the SDK gets an event again when its handler has refused it.
func TestAnEventComesAgainUntilItsHandlerAcceptsIt(t *testing.T) {
	eachBroker(t, func(t *testing.T, url string) {
		const events, refusals = 100, 3
		p := newPair(t, url, "again", mqtt.AtLeastOnce)
		c, err := client.New(p)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		tries := make(chan string)
		verdicts := make(chan protocol.Result)
		ended := make(chan error)
		go func() {
			ended <- c.StartReceiver(ctx, func(e event.Event) protocol.Result {
				select {
				case tries <- e.ID():
					return <-verdicts
				case <-ctx.Done():
					return protocol.ResultNACK
				}
			})
		}()
		go func() {
			e := test.MinEvent()
			for n := range events {
				e.SetID(fmt.Sprint(n))
				if err := c.Send(ctx, e); !protocol.IsACK(err) {
					t.Error(err)
				}
			}
		}()
		count := make(map[string]int)
		for range events * (refusals + 1) {
			select {
			case id := <-tries:
				if count[id]++; count[id] <= refusals {
					verdicts <- protocol.ResultNACK
				} else {
					verdicts <- protocol.ResultACK
				}
			case <-ctx.Done():
				t.Fatal(ctx.Err())
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for id, n := range count {
			if n != refusals+1 {
				t.Errorf("event %s came %d times", id, n)
			}
		}
		if err := p.client.Shutdown(t.Context()); err != nil {
			t.Error(err) // an event that was accepted has no ack
		}
	})
}

func TestAnotherFormatIsRefused(t *testing.T) {
	p := newPair(t, startMochi(t), "format", mqtt.AtLeastOnce)
	finished := errors.New("not finished")
	m := binding.WithFinish(foreign{bindingtest.MustCreateMockStructuredMessage(t, test.MinEvent())}, func(err error) { finished = err })
	err := p.Send(t.Context(), m)
	if err == nil || !errors.Is(err, finished) {
		t.Errorf("Send returned %v, and the message was finished with %v", err, finished)
	}
}

// foreign is a message in a format other than JSON.
type foreign struct{ binding.Message }

func (foreign) ReadStructured(ctx context.Context, w binding.StructuredWriter) error {
	return w.SetStructuredEvent(ctx, notJSON{format.JSON}, bytes.NewReader(nil))
}

type notJSON struct{ format.Format }

func (notJSON) MediaType() string { return "application/cloudevents+avro" }

func TestTheContextNamesTheTopic(t *testing.T) {
	p := newPair(t, startMochi(t), "named", mqtt.AtLeastOnce)
	other := cloudeventsmqtt.NewSender(p.client, "other", mqtt.AtLeastOnce)
	if err := other.Send(cecontext.WithTopic(t.Context(), "named"), test.MinMessage()); err != nil {
		t.Fatal(err)
	}
	receive(t, p).Finish(nil)
}

func TestReceiveEndsWithItsContextAndItsSubscription(t *testing.T) {
	p := newPair(t, startMochi(t), "end", mqtt.AtLeastOnce)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Receive(ctx); err != io.EOF {
		t.Error("after the end of the context:", err)
	}
	if err := p.sub.Unsubscribe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Receive(t.Context()); err != io.EOF {
		t.Error("after the end of the Subscription:", err)
	}
}

func BenchmarkSendReceive(b *testing.B) {
	p := newPair(b, startMochi(b), "bench", mqtt.AtLeastOnce)
	protocoltest.BenchmarkSendReceive(b, p, p)
}
