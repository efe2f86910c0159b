package stream

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// Serve subscribes to filters and calls serve for each request, one at a time, in order of arrival.
// It publishes the message that serve returns to the response topic of the request, and
// acknowledges the request when that reply has its Receipt.
//
// Serve returns when ctx or the Subscription ends. The end of ctx unsubscribes, which drops
// requests that wait. The end of the session leaves them to the broker.
func Serve(ctx context.Context, s *Session, serve func(context.Context, Delivery) (frames.Message, error), filters ...frames.Filter) error {
	if serve == nil {
		return link.BadOption("serve", "is nil; Serve needs a function")
	}
	sub, err := s.Subscribe(ctx, filters...)
	if err != nil {
		return err
	}
	for d, e := range sub.set.inbox.each(ctx, false) {
		if err = e; err == nil {
			s.answer(ctx, d, serve)
		}
	}
	if ctx.Err() != nil && !isOver(s.inboxes.stopping(), context.Background()) {
		sub.Unsubscribe(ctx) // returns at once; the session goes on with it
	}
	return err
}

// answer calls serve for a request and publishes the reply.
func (s *Session) answer(ctx context.Context, d Delivery, serve func(context.Context, Delivery) (frames.Message, error)) {
	m, err := serve(ctx, d)
	if err != nil && isEmpty(&m) {
		d.Reject(frames.ImplementationSpecificError, err.Error())
		return
	}
	reply, ok := replyTo(&d, m)
	intakeEnds := s.life.intakeEnds.wait()
	switch {
	case !ok:
		d.Ack()
		return
	case intakeEnds == nil:
		return // the request comes again in a kept session
	}
	p := Publishing{Message: reply, Tag: &servedRequest{d}}
	select {
	case s.Publishes() <- p:
	case <-intakeEnds:
	case <-ctx.Done():
		select { // a ready result beats an ended context, unless the queue is full
		case s.Publishes() <- p:
		case <-intakeEnds:
		case <-time.After(receiptGrace):
			d.Reject(frames.ImplementationSpecificError, "the responder has ended")
		}
	}
}

func isEmpty(m *frames.Message) bool {
	return m.Topic == "" && len(m.Payload) == 0 && m.Properties == nil
}

// replyTo completes the reply to d, or returns false if d asks for none. Without a topic, m gets
// the response topic and the QoS of d. Its Properties are not written to.
func replyTo(d *Delivery, m frames.Message) (frames.Message, bool) {
	base, ok := d.Reply(m.Payload)
	if !ok {
		return m, false
	}
	if m.Topic == "" {
		m.Topic, m.QoS = base.Topic, base.QoS
	}
	switch {
	case base.Properties == nil:
	case m.Properties == nil:
		m.Properties = base.Properties
	case m.Properties.Correlation == nil:
		p := *m.Properties
		p.Correlation = base.Properties.Correlation
		m.Properties = &p
	}
	return m, true
}

// A servedRequest is a request whose reply is published. It gets the Receipt of the reply.
type servedRequest struct{ request Delivery }

// serveAgain is how long a request waits whose reply could not be sent for a reason that passes.
const serveAgain = time.Second

// published gets the Receipt of the reply, from the loop. A reply that may have arrived counts as
// sent: without a kept session, the request is gone with the connection.
func (a *servedRequest) published(receipt Receipt, log *slog.Logger) {
	var downgraded *DowngradedError
	switch err := receipt.Err; {
	case err == nil, errors.As(err, &downgraded), errors.Is(err, ErrKept):
		a.request.Ack()
		return
	case errors.Is(err, ErrClosed):
		return // the request comes again in a kept session
	case errors.Is(err, ErrUnconfirmed):
		a.request.Ack()
	case Retryable(err):
		a.request.Requeue(serveAgain)
	default:
		a.request.Reject(frames.ImplementationSpecificError, "the reply cannot be sent")
	}
	log.Warn("the reply to a request was not delivered", "topic", receipt.Topic, "error", receipt.Err)
}
