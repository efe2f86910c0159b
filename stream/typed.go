package stream

import (
	"context"

	"github.com/go-millrace/mqtt/frames"
)

// Event is a delivery with its decoded value. With a payload that cannot be
// decoded Err is set; it is to be acked all the same.
type Event[T any] struct {
	Delivery
	Value T
	Err   error
}

// Subscribe is Session.Subscribe with a channel of decoded values, buffered
// (256) and closed when the session ends or the broker refuses to restore a
// filter. ctx bounds the call, not the channel.
func Subscribe[T any](ctx context.Context, s *Session, dec func(frames.Message) (T, error), filters ...frames.Filter) (<-chan Event[T], error) {
	if dec == nil {
		return nil, badOption("dec", "is nil; Subscribe needs a Decoder")
	}
	sub, err := s.Subscribe(ctx, filters...)
	if err != nil {
		return nil, err
	}
	ch := make(chan Event[T], deliveriesCap)
	feed(sub.box, ch, func(d Delivery) (Event[T], bool) {
		v, err := dec(d.Message)
		return Event[T]{Delivery: d, Value: v, Err: err}, false
	})
	return ch, nil
}
