package stream

import (
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

// Decode returns a channel of the messages of sub, decoded by dec. The channel has a buffer of 256
// and is closed when sub or the session ends; then Subscription.Err has the reason. It competes for
// messages with the other channels of sub, so use one of them. With a nil dec, each Event has an
// Err.
func Decode[T any](sub *Subscription, dec func(frames.Message) (T, error)) <-chan Event[T] {
	if dec == nil {
		dec = func(frames.Message) (v T, err error) {
			return v, link.BadOption("dec", "is nil; Decode needs a Decoder")
		}
	}
	ch := make(chan Event[T], deliveriesCap)
	sub.set.inbox.decode()
	feed(sub.set.inbox, ch, func(d Delivery) (Event[T], bool) {
		v, err := dec(d.Message)
		return Event[T]{Delivery: d, Value: v, Err: err}, false
	}, func(e Event[T]) Delivery { return e.Delivery })
	return ch
}
