package stream_test

import (
	"context"
	"testing"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// requester connects a session at MQTT 5 whose client identifier is "asker".
func requester(t *testing.T, b *streamtest.Broker, o *stream.Options) (*stream.Session, *streamtest.Conn) {
	t.Helper()
	return connected(t, b, asker(o))
}

func asker(o *stream.Options) *stream.Options {
	var c stream.Options
	if o != nil {
		c = *o
	}
	c.Version, c.ClientID = frames.V5, "asker"
	return &c
}

// An answered is the result of a call of Request.
type answered struct {
	m   frames.Message
	err error
}

// ask calls Request on a goroutine.
func ask(ctx context.Context, s *stream.Session, m frames.Message) <-chan answered {
	done := make(chan answered, 1)
	go func() {
		m, err := s.Request(ctx, m)
		done <- answered{m, err}
	}()
	return done
}

// granted grants the Subscription for the replies and returns the first request, which has its
// PUBACK or PUBREC with a code, unless it is QoS 0.
func granted(c *streamtest.Conn, code frames.ReasonCode) frames.Publish {
	c.Grant(streamtest.Next[frames.Subscribe](c))
	return requested(c, code)
}

// requested is granted without the Subscription, which the session has.
func requested(c *streamtest.Conn, code frames.ReasonCode) frames.Publish {
	p := streamtest.Next[frames.Publish](c)
	switch p.QoS {
	case frames.AtLeastOnce:
		c.Send(frames.Ack{Kind: puback, ID: p.ID, AckReason: frames.AckReason{Code: code}})
	case frames.ExactlyOnce:
		c.Send(frames.Ack{Kind: pubrec, ID: p.ID, AckReason: frames.AckReason{Code: code}})
		if code < frames.UnspecifiedError {
			c.Expect(ack(pubrel, p.ID))
			c.Send(ack(pubcomp, p.ID))
		}
	}
	return p
}

// replyTo sends the reply to a request, and expects its PUBACK.
func replyTo(c *streamtest.Conn, p frames.Publish, payload string) {
	d := stream.Delivery{Message: p.Message}
	m, _ := d.Reply([]byte(payload))
	m.QoS = min(m.QoS, frames.AtLeastOnce)
	sent := c.Publish(m)
	if m.QoS > frames.AtMostOnce {
		c.ExpectAck(sent...)
	}
}

// replyAtQoS0 sends the reply to a request, which gets no ack.
func replyAtQoS0(c *streamtest.Conn, p frames.Publish) {
	d := stream.Delivery{Message: p.Message}
	m, _ := d.Reply([]byte("r"))
	m.QoS = frames.AtMostOnce
	c.Publish(m)
}

func wantReply(t *testing.T, r answered, payload string) {
	t.Helper()
	if r.err != nil || string(r.m.Payload) != payload {
		t.Fatalf("Request returned %q, %v; want %q", r.m.Payload, r.err, payload)
	}
}
