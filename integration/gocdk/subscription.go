package gocdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gocloud.dev/pubsub/driver"

	"github.com/go-millrace/mqtt"
)

// subscription is a driver.Subscription. It owns its client.
type subscription struct {
	driverErrors
	client *mqtt.Client
	sub    *mqtt.Subscription
	err    error // the reason why sub is nil
}

// openSubscription returns a subscription for the filters. The Go CDK expects that this succeeds:
// if the filters are invalid or the broker refuses them, ReceiveBatch returns the error.
func openSubscription(ctx context.Context, url string, o *mqtt.Options, filters ...mqtt.Filter) (*subscription, error) {
	client, err := mqtt.Open(url, o)
	if err != nil {
		return nil, err
	}
	s := &subscription{client: client}
	s.sub, s.err = client.Subscribe(ctx, filters...)
	if context.Cause(ctx) != nil && s.err != nil {
		return nil, errors.Join(s.err, client.Close())
	}
	return s, nil
}

// longestWait is about a second, as the Go CDK asks.
const longestWait = time.Second

// ReceiveBatch waits for a message and returns it with all messages that have arrived by then.
func (s *subscription) ReceiveBatch(ctx context.Context, most int) ([]*driver.Message, error) {
	if s.err != nil {
		return nil, s.err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err // select might choose the receive
	}
	timer := time.NewTimer(longestWait)
	defer timer.Stop()
	var batch []*driver.Message
	select {
	case d, open := <-s.sub.Deliveries():
		if !open {
			return nil, s.ended()
		}
		batch = append(batch, received(d))
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for len(batch) < most {
		select {
		case d, open := <-s.sub.Deliveries():
			if !open {
				return batch, nil
			}
			batch = append(batch, received(d))
		default:
			return batch, nil
		}
	}
	return batch, nil
}

// ended returns the reason why the channel is closed.
func (s *subscription) ended() error {
	if err := s.sub.Err(); err != nil {
		return err
	}
	return mqtt.ErrClosed
}

// received returns a delivery as a message of the Go CDK. A payload that is no envelope is the
// body.
func received(d mqtt.Delivery) *driver.Message {
	var e envelope
	if err := json.Unmarshal(d.Payload, &e); err != nil {
		e = envelope{Body: d.Payload}
	}
	return &driver.Message{
		LoggableID: fmt.Sprintf("%s %d", d.Topic, d.ID),
		Body:       e.Body,
		Metadata:   e.Metadata,
		AckID:      &d,
		AsFunc:     as(d),
	}
}

// SendAcks acknowledges deliveries. The client sends the acks, in order of arrival.
func (s *subscription) SendAcks(_ context.Context, ids []driver.AckID) error {
	for _, id := range ids {
		id.(*mqtt.Delivery).Ack()
	}
	return nil
}

// CanNack reports that SendNacks is supported.
func (s *subscription) CanNack() bool { return true }

// SendNacks puts deliveries back, so that the subscription receives them again.
func (s *subscription) SendNacks(_ context.Context, ids []driver.AckID) error {
	for _, id := range ids {
		id.(*mqtt.Delivery).Requeue(0)
	}
	return nil
}

// As converts to a *mqtt.Client or a *mqtt.Subscription.
func (s *subscription) As(i any) bool { return as(s.client)(i) || as(s.sub)(i) }

// Close sends the acks and disconnects. The session stays at the broker with the messages that have
// no ack.
func (s *subscription) Close() error { return s.client.Close() }
