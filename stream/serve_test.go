package stream_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// serving runs Serve for the filter "q" on a goroutine, until the broker has granted the filter.
func serving(ctx context.Context, s *stream.Session, c *streamtest.Conn, serve func(context.Context, stream.Delivery) (frames.Message, error)) <-chan error {
	done := make(chan error, 1)
	go func() { done <- stream.Serve(ctx, s, serve, frames.Filter{Topic: "q", QoS: 2}) }()
	c.Grant(streamtest.Next[frames.Subscribe](c))
	return done
}

// echo answers a request with its payload.
func echo(_ context.Context, d stream.Delivery) (frames.Message, error) {
	return frames.Message{Payload: append([]byte("re: "), d.Payload...)}, nil
}

// inquiry returns a request with a response topic and correlation data.
func inquiry(payload string, q frames.QoS) frames.Message {
	m := message("q", payload, q)
	m.Properties = &frames.Properties{ResponseTopic: "back", Correlation: []byte("42")}
	return m
}

func TestServeAcknowledgesARequestWhenItsReplyHasItsReceipt(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{Window: 2})
		serving(t.Context(), s, c, echo)
		one := c.Publish(inquiry("one", 1))
		r1 := streamtest.Next[frames.Publish](c)
		two := c.Publish(inquiry("two", 1)) // served before the first reply has its PUBACK
		r2 := streamtest.Next[frames.Publish](c)
		for i, r := range []frames.Publish{r1, r2} {
			if r.Topic != "back" || string(r.Properties.Correlation) != "42" || r.QoS != 1 ||
				string(r.Payload) != []string{"re: one", "re: two"}[i] {
				t.Errorf("reply %+v, %+v", r, r.Properties)
			}
		}
		c.ExpectQuiet(time.Second)
		c.Complete(r1)
		c.ExpectAck(one...)
		c.Complete(r2)
		c.ExpectAck(two...)
	})
}

func TestServeKeepsReplyFields(t *testing.T) {
	mine := &frames.Properties{ContentType: "text"}
	other := &frames.Properties{Correlation: []byte("other")}
	for _, tt := range []struct {
		name        string
		m           frames.Message
		topic       string
		qos         frames.QoS
		contentType string
		correlation string
	}{
		{"nothing", frames.Message{}, "back", 1, "", "42"},
		{"properties", frames.Message{Properties: mine}, "back", 1, "text", "42"},
		{"topic and QoS", frames.Message{Topic: "else", QoS: 0}, "else", 0, "", "42"},
		{"correlation data", frames.Message{Properties: other}, "back", 1, "", "other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := requester(t, b, nil)
				serving(t.Context(), s, c, func(context.Context, stream.Delivery) (frames.Message, error) { return tt.m, nil })
				sent := c.Publish(inquiry("", 1))
				r := streamtest.Next[frames.Publish](c)
				if r.Topic != tt.topic || r.QoS != tt.qos || r.Properties.ContentType != tt.contentType ||
					string(r.Properties.Correlation) != tt.correlation {
					t.Errorf("reply %+v, %+v", r, r.Properties)
				}
				if r.QoS > 0 {
					c.Complete(r)
				}
				c.ExpectAck(sent...)
				if mine.Correlation != nil {
					t.Error("the properties of the reply were written to")
				}
			})
		})
	}
}

func TestServeAcknowledgesARequestThatAsksForNoReply(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, nil)
		served := make(chan string, 1)
		serving(t.Context(), s, c, func(_ context.Context, d stream.Delivery) (frames.Message, error) {
			served <- string(d.Payload)
			return frames.Message{Payload: []byte("unused")}, nil
		})
		c.ExpectAck(c.Publish(message("q", "note", 1))...)
		if got := <-served; got != "note" {
			t.Errorf("served %q", got)
		}
		c.ExpectQuiet(time.Second)
	})
}

func TestServeRejectsARequestWhoseReplyIsAnErrorOrRefused(t *testing.T) {
	failure := errors.New("no such tank")
	for _, tt := range []struct {
		name   string
		serve  func(context.Context, stream.Delivery) (frames.Message, error)
		code   frames.ReasonCode // of the PUBACK for the reply, if there is one
		want   frames.ReasonCode
		reason string
	}{
		{"an error", func(context.Context, stream.Delivery) (frames.Message, error) { return frames.Message{}, failure },
			0, frames.ImplementationSpecificError, "no such tank"},
		{"an error with a reply", func(context.Context, stream.Delivery) (frames.Message, error) {
			return frames.Message{Payload: []byte("failed")}, failure
		}, frames.Success, frames.Success, ""},
		{"nobody waits", echo, frames.NoMatchingSubscribers, frames.Success, ""},
		{"refused", echo, frames.NotAuthorized, frames.ImplementationSpecificError, "the reply cannot be sent"},
		{"invalid", func(context.Context, stream.Delivery) (frames.Message, error) { return frames.Message{Topic: "#"}, nil },
			0, frames.ImplementationSpecificError, "the reply cannot be sent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := requester(t, b, nil)
				serving(t.Context(), s, c, tt.serve)
				sent := c.Publish(inquiry("", 1))
				if tt.name != "an error" && tt.name != "invalid" {
					requested(c, tt.code)
				}
				a := streamtest.Next[frames.Ack](c)
				reason := ""
				if a.Properties != nil {
					reason = a.Properties.Reason
				}
				if a.Kind != puback || a.ID != sent[0].ID || a.Code != tt.want || reason != tt.reason {
					t.Errorf("got %+v with reason %q, want %v %q", a, reason, tt.want, tt.reason)
				}
			})
		})
	}
}

func TestServeUnsubscribesAtTheEndOfItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, nil)
		ctx, cancel := context.WithCancel(context.Background())
		done := serving(ctx, s, c, func(ctx context.Context, d stream.Delivery) (frames.Message, error) {
			<-ctx.Done()
			return echo(ctx, d)
		})
		sent := c.Publish(inquiry("served", 1), inquiry("too late", 1))
		synctest.Wait()
		cancel()
		wantError(t, <-done, context.Canceled)
		r := streamtest.Next[frames.Publish](c)
		if string(r.Payload) != "re: served" {
			t.Errorf("reply %q", r.Payload)
		}
		c.ExpectType(frames.TypeUnsubscribe)
		c.Complete(r)
		c.ExpectAck(sent...)
	})
}

func TestServeLeavesWaitingRequestsToTheNextClientAtShutdown(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{KeepSession: true})
		busy := make(chan struct{})
		done := serving(context.Background(), s, c, func(ctx context.Context, d stream.Delivery) (frames.Message, error) {
			<-busy
			return echo(ctx, d)
		})
		sent := c.Publish(inquiry("served", 1), inquiry("waits", 1))
		synctest.Wait()
		go s.Shutdown(context.Background())
		synctest.Wait()
		close(busy)
		r := streamtest.Next[frames.Publish](c)
		c.Complete(r)
		c.ExpectAck(sent[0])
		c.ExpectDisconnect() // and neither UNSUBSCRIBE nor a second PUBACK
		if err := <-done; err != nil {
			t.Errorf("Serve returned %v after Shutdown", err)
		}
	})
}

func TestServeGetsARequestAgainWhoseReplyFoundNoRoom(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{MaxUnread: 1000, MaxPacket: 1000, Window: 1, Queue: 1})
		inFlight := make(chan stream.Receipt, 4)
		go func() {
			for range 2 {
				s.Publishes() <- stream.Publishing{Message: message("full", "", 1), Ack: inFlight}
			}
		}()
		full := streamtest.Next[frames.Publish](c)
		busy := make(chan struct{})
		served := 0
		serving(t.Context(), s, c, func(ctx context.Context, d stream.Delivery) (frames.Message, error) {
			served++
			<-busy
			return echo(ctx, d)
		})
		sent := c.Publish(inquiry("one", 1))
		var others []frames.Publish
		for range 20 {
			others = append(others, c.Publish(message("other", "0123456789", 1))...)
		}
		elapse(2 * time.Second)
		close(busy) // the queue is full, and the session is behind
		elapse(500 * time.Millisecond)
		if !s.Stats().Behind || served != 1 {
			t.Fatalf("served %d times; behind is %v", served, s.Stats().Behind)
		}
		go func() {
			for d, err := range s.All(t.Context()) {
				if err != nil || d.Topic != "other" {
					return
				}
			}
		}()
		c.Complete(full)
		c.Complete(streamtest.Next[frames.Publish](c))
		reply := streamtest.Next[frames.Publish](c)
		if string(reply.Payload) != "re: one" || served != 2 {
			t.Errorf("served %d times, reply %q", served, reply.Payload)
		}
		c.Complete(reply)
		c.ExpectAck(sent...)
		c.ExpectAck(others...)
	})
}

func TestServeReturnsTheErrorOfItsSubscription(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := requester(t, b, &stream.Options{KeepSession: true})
		var option *stream.OptionError
		if err := stream.Serve(t.Context(), s, nil, frames.Filter{Topic: "q"}); !errors.As(err, &option) {
			t.Errorf("without a function: %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- stream.Serve(t.Context(), s, echo, frames.Filter{Topic: "q"}) }()
		sub := streamtest.Next[frames.Subscribe](c)
		c.Send(frames.Suback{ID: sub.ID, Codes: []frames.ReasonCode{frames.NotAuthorized}})
		wantError(t, <-done, frames.NotAuthorized)

		done2 := serving(t.Context(), s, c, echo)
		synctest.Wait()
		c.Drop()
		c = b.Handshake(true)
		sub = streamtest.Next[frames.Subscribe](c)
		c.Send(frames.Suback{ID: sub.ID, Codes: []frames.ReasonCode{frames.NotAuthorized}})
		wantError(t, <-done2, frames.NotAuthorized)
	})
}

func TestARequestIsAnsweredOverABroker(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		b.Respond(&streamtest.Responder{Loopback: true})
		asks, serves := open(t, b, asker(nil)), open(t, b, &stream.Options{Version: frames.V5, Window: 10})
		go stream.Serve(t.Context(), serves, echo, frames.Filter{Topic: "q", QoS: 1})
		synctest.Wait()
		for q := range frames.QoS(3) {
			m, err := asks.Request(t.Context(), message("q", "hello", q))
			wantReply(t, answered{m, err}, "re: hello")
		}
		wantTags(t, everyReply(t, asks.Requests(t.Context(), queries(1000))), 1000)
	})
}
