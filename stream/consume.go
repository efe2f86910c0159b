package stream

import (
	"context"
	"iter"

	"github.com/go-millrace/mqtt/frames"
)

// The methods here hand messages over to consumers, by channel or iterator.

// deliveriesCap is the buffer size of Deliveries. It exceeds the in-flight window of common
// brokers, so that a full buffer does not stop a broker in the middle of a batch.
const deliveriesCap = 256

// Messages returns a channel that acknowledges each message when the consumer receives it. The
// channel is unbuffered, closed after its last value, and the same at every call.
func (b *inbox) Messages() <-chan frames.Message {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	if b.messages == nil {
		b.begins()
		b.messages = make(chan frames.Message)
		feed(b, b.messages, func(d Delivery) (frames.Message, bool) { return d.Message, true }, nil)
	}
	return b.messages
}

// Deliveries returns a channel of messages that the consumer acknowledges with Ack. The channel is
// buffered, closed after its last value, and the same at every call.
func (b *inbox) Deliveries() <-chan Delivery {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	if b.delivers == nil {
		b.begins()
		b.delivers = make(chan Delivery, deliveriesCap)
		feed(b, b.delivers, acknowledgedByConsumer, func(d Delivery) Delivery { return d })
	}
	return b.delivers
}

// feed starts a goroutine that sends the messages of an inbox to ch, and closes ch at the end. The
// arguments are the same as for handOver.
func feed[T any](b *inbox, ch chan T, convert func(Delivery) (v T, acks bool), revert func(T) Delivery) {
	ok := b.all.life.start(feeder, func() {
		defer close(ch)
		handOver(b, ch, nil, convert, revert)
	})
	if !ok {
		close(ch)
	}
}

// handOver sends the messages of an inbox to ch until the inbox or the session ends. With turns, it
// sends each message in its turn. The function convert returns the value to send, and whether a
// completed send acknowledges the message. The function revert gets the message of a value from the
// buffer of ch; it is nil for a channel without one.
func handOver[T any](b *inbox, ch chan T, turns *turns, convert func(Delivery) (v T, acks bool), revert func(T) Delivery) {
	stop, leaving, decodes, turn := b.all.stopping(), b.leavingChannel(), b.decodes(), turns.feeder()
	if revert != nil {
		b.addBuffer(bufferOf(ch, revert))
	}
	for c := (chunk{deliveries: make([]Delivery, 0, 8)}); b.take(nil, &c); clear(c.deliveries) {
		sent, has := 0, turns.begin(turn)
		for sent < len(c.deliveries) && !b.left.Load() {
			if decodes { // a Decoder may take long, and the messages before were handed over
				b.all.hands.over(&c, sent)
			}
			v, acks := convert(c.deliveries[sent])
			out := ch
			if !has {
				out = nil // until the turn comes
			}
			given := true
			select {
			case out <- v:
			default:
				b.all.hands.over(&c, sent)
				given = offer(ch, v, has, turn, leaving, stop)
			}
			if !given {
				break
			}
			if acks {
				c.deliveries[sent].Ack()
			}
			sent++
			has = turns.pass()
		}
		turns.leave(turn)
		b.all.hands.over(&c, sent)
		b.done(&c, sent)
	}
	if b.keepBuffered(); b.left.Load() || isOver(stop, context.Background()) {
		b.recall()
	}
}

// offer sends v to ch, at its turn. It returns false when leaving or stop is closed first.
func offer[T any](ch chan<- T, v T, hasTurn bool, turn, leaving, stop <-chan struct{}) (sent bool) {
	if !hasTurn {
		select {
		case <-turn:
		case <-leaving:
			return false
		case <-stop:
			return false
		}
	}
	select {
	case ch <- v:
		return true
	case <-leaving:
		return false
	case <-stop:
		return false
	}
}

// decodes reports whether Decode consumes the inbox.
func (b *inbox) decodes() bool {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	return b.decoded
}

// acknowledgedByConsumer converts a message for a channel whose consumer calls Ack.
func acknowledgedByConsumer(d Delivery) (v Delivery, acks bool) { return d, false }

func bufferOf[T any](ch chan T, revert func(T) Delivery) buffer {
	return buffer{
		count: func() int { return len(ch) },
		next: func() (d Delivery, ok bool) {
			select {
			case v, open := <-ch:
				if open {
					return revert(v), true
				}
			default:
			}
			return d, false
		},
	}
}

// All returns an iterator over the messages. A message is acknowledged when the range loop asks for
// the next message; a break leaves the last message unacknowledged. The iterator ends without an
// error after Close or Unsubscribe. Otherwise its last pair has the error: the cause of ctx, or
// Err.
func (b *inbox) All(ctx context.Context) iter.Seq2[Delivery, error] { return b.each(ctx, true) }

// each is All. Unless acks is set, the consumer acknowledges each message.
func (b *inbox) each(ctx context.Context, acks bool) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		b.rangeLoops(1)
		defer b.rangeLoops(-1)
		stop := b.all.stopping()
		var c chunk
		next := 0
		leave := func() {
			if len(c.deliveries) > 0 {
				b.all.hands.over(&c, next)
				b.done(&c, next)
				clear(c.deliveries)
				c.deliveries = c.deliveries[:0]
			}
		}
		defer leave() // deferred, since the loop body may panic
		for !isOver(stop, ctx) {
			if next = 0; !b.take(ctx.Done(), &c) {
				break
			}
			for next < len(c.deliveries) && !b.left.Load() && (next == 0 || !isOver(stop, ctx)) {
				d := c.deliveries[next]
				next++
				if next == 1 || c.times != nil { // an atomic operation less for the other messages
					b.all.hands.over(&c, next)
				}
				if !yield(d, nil) {
					return
				}
				if acks {
					d.Ack()
				}
			}
			leave()
		}
		if err := b.endOf(ctx); err != nil {
			yield(Delivery{}, err)
		}
	}
}

// endOf returns the error with which an iterator ends, or nil.
func (b *inbox) endOf(ctx context.Context) error {
	if err := b.reason(); err != nil || ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// isOver reports whether stop is closed or ctx has ended.
func isOver(stop <-chan struct{}, ctx context.Context) bool {
	select {
	case <-stop:
		return true
	default:
		return ctx.Err() != nil
	}
}

// decode records that the inbox is consumed by Decode.
func (b *inbox) decode() {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	b.begins()
	b.decoded = true
}

// rangeLoops adds n to the number of running range loops.
func (b *inbox) rangeLoops(n int) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	if n > 0 {
		b.begins()
	}
	b.ranges += n
}

// begins records that a consumer begins to receive, after a call with a wrong argument perhaps. The
// caller holds the lock.
func (b *inbox) begins() { b.misuse = nil }

// misused records the error of a call with a wrong argument, whose channel is closed from the
// start.
func (b *inbox) misused(err error) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	b.misuse = err
}
