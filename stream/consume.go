package stream

import (
	"context"
	"iter"

	"github.com/go-millrace/mqtt/frames"
)

// The ways to take messages out of an inbox.

// deliveriesCap is the buffer of Deliveries: longer than the in-flight window of the brokers in
// use, so that a broker is not stopped in the middle of a batch.
const deliveriesCap = 256

// Messages returns the channel whose hand-off acknowledges a message. It is unbuffered, closed
// after its last value, and the same at every call.
func (b *inbox) Messages() <-chan frames.Message {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	if b.messages == nil {
		b.messages = make(chan frames.Message)
		feed(b, b.messages, func(d Delivery) (frames.Message, bool) { return d.Message, true })
	}
	return b.messages
}

// Deliveries returns the channel of messages that their consumer acknowledges with Ack. It is
// buffered, closed after its last value, and the same at every call.
func (b *inbox) Deliveries() <-chan Delivery {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	if b.delivers == nil {
		b.delivers = make(chan Delivery, deliveriesCap)
		feed(b, b.delivers, func(d Delivery) (Delivery, bool) { return d, false })
	}
	return b.delivers
}

// feed starts the goroutine that moves messages from an inbox to ch as the consumer takes them, and
// closes ch. convert returns the value to send, and whether its hand-off acknowledges the message.
func feed[T any](b *inbox, ch chan T, convert func(Delivery) (v T, acks bool)) {
	ok := b.all.life.start(func() {
		defer close(ch)
		stop := b.all.stopping()
		chunk := make([]Delivery, 0, 8)
		for chunk = b.take(nil, chunk); len(chunk) > 0; chunk = b.take(nil, chunk[:0]) {
			for i, d := range chunk {
				v, acks := convert(d)
				select {
				case ch <- v:
				default:
					select {
					case ch <- v:
					case <-stop:
						b.putBack(chunk[i:])
						return
					}
				}
				if acks {
					d.Ack()
				}
			}
			clear(chunk)
		}
	})
	if !ok {
		close(ch)
	}
}

// All returns an iterator over the messages. A message is acknowledged when the loop asks for the
// next one; leaving the loop does not acknowledge the last one. It ends without an error when the
// client was closed or unsubscribed, otherwise with the reason: that of ctx, or Err.
func (b *inbox) All(ctx context.Context) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		stop := b.all.stopping()
		var chunk []Delivery
		next := 0
		leave := func() {
			b.putBack(chunk[next:])
			next = len(chunk)
		}
		defer leave() // the body may end by a panic
		for !isOver(stop, ctx) {
			chunk, next = b.take(ctx.Done(), chunk[:0]), 0
			if len(chunk) == 0 {
				break
			}
			for next < len(chunk) && (next == 0 || !isOver(stop, ctx)) {
				d := chunk[next]
				next++
				if !yield(d, nil) {
					return
				}
				d.Ack()
			}
			leave()
			clear(chunk)
		}
		err := b.Err()
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			yield(Delivery{}, err)
		}
	}
}

// isOver reports that no more messages are to be handed out.
func isOver(stop <-chan struct{}, ctx context.Context) bool {
	select {
	case <-stop:
		return true
	default:
		return ctx.Err() != nil
	}
}
