package gocdk

import (
	"context"
	"encoding/json"
	"errors"

	"gocloud.dev/gcerrors"
	"gocloud.dev/pubsub/driver"

	"github.com/go-millrace/mqtt"
)

// An envelope carries a message of the Go CDK in a payload.
type envelope struct {
	Metadata map[string]string
	Body     []byte
}

// topic is a driver.Topic. It owns its client.
type topic struct {
	driverErrors
	client *mqtt.Client
	name   string
	qos    mqtt.QoS
}

// openTopic returns a topic that publishes to name at qos.
func openTopic(url string, o *mqtt.Options, name string, qos mqtt.QoS) (*topic, error) {
	client, err := mqtt.Open(url, o)
	if err != nil {
		return nil, err
	}
	return &topic{client: client, name: name, qos: qos}, nil
}

// SendBatch publishes all the messages before it waits for their Receipts.
func (t *topic) SendBatch(ctx context.Context, ms []*driver.Message) error {
	batch := make([]mqtt.Publishing, len(ms))
	receipts := make(chan mqtt.Receipt, len(ms))
	for i, m := range ms {
		payload, err := json.Marshal(envelope{m.Metadata, m.Body})
		if err != nil {
			return err
		}
		message := mqtt.Message{Topic: t.name, Payload: payload, QoS: t.qos}
		if m.BeforeSend != nil {
			if err := m.BeforeSend(as(message)); err != nil {
				return err
			}
		}
		batch[i] = mqtt.Publishing{Message: message, Tag: m, Ack: receipts}
	}
	if err := context.Cause(ctx); err != nil {
		return err // select might choose the send
	}
	for _, p := range batch {
		select {
		case t.client.Publishes() <- p:
		case <-t.client.Done():
			return mqtt.ErrClosed // Err is nil after Close
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	var errs []error
	for range batch {
		select {
		case r := <-receipts:
			if r.Err != nil {
				errs = append(errs, r.Err)
			} else if after := r.Tag.(*driver.Message).AfterSend; after != nil {
				errs = append(errs, after(as(r)))
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return errors.Join(errs...)
}

// As converts to a *mqtt.Client.
func (t *topic) As(i any) bool { return as(t.client)(i) }

// Close waits for no publication: SendBatch has done that.
func (t *topic) Close() error { return t.client.Close() }

// as returns a function that stores v in the variable to which its argument points, if the types
// are equal.
func as[T any](v T) func(any) bool {
	return func(i any) bool {
		p, ok := i.(*T)
		if ok {
			*p = v
		}
		return ok
	}
}

// driverErrors has the methods that judge the errors of a driver.
type driverErrors struct{}

// IsRetryable reports whether trying again can help.
func (driverErrors) IsRetryable(err error) bool { return mqtt.Retryable(err) }

// ErrorAs is errors.As.
func (driverErrors) ErrorAs(err error, target any) bool { return errors.As(err, target) }

// ErrorCode returns the code of the Go CDK for err.
func (driverErrors) ErrorCode(err error) gcerrors.ErrorCode {
	var invalid *mqtt.InvalidError
	var refused *mqtt.RefusedError
	switch {
	case errors.As(err, &invalid), errors.As(err, &refused):
		return gcerrors.NotFound
	case errors.Is(err, context.Canceled):
		return gcerrors.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return gcerrors.DeadlineExceeded
	case errors.Is(err, mqtt.NotAuthorized), errors.Is(err, mqtt.BadUserNameOrPassword):
		return gcerrors.PermissionDenied
	case errors.Is(err, mqtt.ErrClosed):
		return gcerrors.FailedPrecondition
	case errors.Is(err, mqtt.ErrBehind):
		return gcerrors.ResourceExhausted
	}
	return gcerrors.Unknown
}
