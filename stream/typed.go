package stream

import (
	"context"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// Event is a delivery with its decoded value. Err is set if the payload cannot be decoded. A
// delivery with Err must be acknowledged too.
type Event[T any] struct {
	Delivery
	Value T
	Err   error
}

// Subscribe subscribes as Session.Subscribe does, and returns a channel of decoded values. The
// channel has a buffer of 256. It is closed when the session ends, or when the broker refuses a
// filter on a later connection. ctx bounds the call, not the life of the channel.
func Subscribe[T any](ctx context.Context, s *Session, dec func(frames.Message) (T, error), filters ...frames.Filter) (<-chan Event[T], error) {
	if dec == nil {
		return nil, link.BadOption("dec", "is nil; Subscribe needs a Decoder")
	}
	sub, err := s.Subscribe(ctx, filters...)
	if err != nil {
		return nil, err
	}
	ch := make(chan Event[T], deliveriesCap)
	feed(sub.set.inbox, ch, func(d Delivery) (Event[T], bool) {
		v, err := dec(d.Message)
		return Event[T]{Delivery: d, Value: v, Err: err}, false
	}, func(e Event[T]) Delivery { return e.Delivery })
	return ch, nil
}
