package stream

import (
	"context"
	"iter"

	"github.com/go-millrace/mqtt/frames"
)

// An inbox is where one Subscription's messages wait, or those that no
// Subscription claims, and the ways to take them out.
type inbox struct {
	s    *Session
	wake chan struct{} // cap 1, from the loop and from consumers who leave something
	over chan struct{} // closed by the loop: nothing more comes

	// Guarded by boxes.mu.
	line     chain
	count    int
	bytes    int
	idle     int // consumers that wait
	woken    bool
	finished bool  // over is closed
	err      error // why
	messages chan frames.Message
	delivers chan Delivery
}

func newInbox(s *Session) *inbox {
	return &inbox{s: s, wake: make(chan struct{}, 1), over: make(chan struct{}), line: chain{by: byBox}}
}

// finish says that nothing more comes. What waits is still handed over.
func (b *inbox) finish(err error) {
	b.s.boxes.mu.Lock()
	defer b.s.boxes.mu.Unlock()
	if !b.finished {
		b.finished, b.err = true, err
		close(b.over)
	}
}

// Err returns why the channels ended: nil while they have not, and after
// Unsubscribe or Close.
func (b *inbox) Err() error {
	b.s.boxes.mu.Lock()
	err := b.err
	b.s.boxes.mu.Unlock()
	if err == nil {
		err = b.s.Err()
	}
	return err
}

// A chunk is what a consumer takes at once: enough to make the lock cheap,
// little enough to keep the rest for others.
const (
	chunkMessages = 64
	chunkBytes    = 64 << 10
)

// take waits for messages and moves some of them into dst; none when the inbox
// has ended, handing out was stopped or cancel is closed.
func (b *inbox) take(cancel <-chan struct{}, dst []Delivery) []Delivery {
	x := b.s.boxes
	for {
		x.mu.Lock()
		if x.stopped {
			x.mu.Unlock()
			return dst
		}
		if b.bytes > x.crowd/2 {
			x.bites++
		}
		for size := 0; b.line.head != 0 && len(dst) < chunkMessages && size < chunkBytes; {
			d := &x.nodes[b.line.head].delivery
			size += cost(d)
			dst = append(dst, *d)
			x.remove(b.line.head)
		}
		room := x.room()
		if len(dst) > 0 || b.finished {
			b.passOn()
			x.mu.Unlock()
			if room {
				x.poke()
			}
			return dst
		}
		b.idle++
		x.mu.Unlock()

		ended := false
		select {
		case <-b.wake:
		case <-b.over:
		case <-x.stop:
		case <-cancel:
			ended = true
		}
		x.mu.Lock()
		b.idle--
		if ended {
			b.passOn()
			x.mu.Unlock()
			return dst
		}
		x.mu.Unlock()
	}
}

// passOn wakes another consumer when there is something left for it.
func (b *inbox) passOn() {
	if b.count > 0 && b.idle > 0 {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// putBack returns what was taken and not handed over to the front.
func (b *inbox) putBack(rest []Delivery) {
	if len(rest) == 0 {
		return
	}
	x := b.s.boxes
	x.mu.Lock()
	for k := len(rest) - 1; k >= 0; k-- {
		i := x.alloc(b, &rest[k])
		x.pushFront(&b.line, i)
		if rest[k].QoS == frames.AtMostOnce {
			x.pushFront(&x.zeros, i)
		}
	}
	x.makeRoom(0) // reading must not pause for QoS 0
	b.passOn()
	x.mu.Unlock()
	x.poke() // Shutdown counts what was not handed over
}

// Messages returns the channel whose hand-off settles a message. It is
// unbuffered, closed after its last value, and the same at every call.
func (b *inbox) Messages() <-chan frames.Message {
	x := b.s.boxes
	x.mu.Lock()
	defer x.mu.Unlock()
	if b.messages == nil {
		ch := make(chan frames.Message)
		b.messages = ch
		feed(b, ch, func(d Delivery) (frames.Message, bool) { return d.Message, true })
	}
	return b.messages
}

// deliveriesCap is the buffer of Deliveries: longer than the in-flight window
// of the brokers in use, so that a broker is not stopped in mid-batch.
const deliveriesCap = 256

// Deliveries returns the channel of messages that their consumer settles with
// Ack. It is buffered, closed after its last value, and the same at every call.
func (b *inbox) Deliveries() <-chan Delivery {
	x := b.s.boxes
	x.mu.Lock()
	defer x.mu.Unlock()
	if b.delivers == nil {
		b.delivers = make(chan Delivery, deliveriesCap)
		feed(b, b.delivers, func(d Delivery) (Delivery, bool) { return d, false })
	}
	return b.delivers
}

// feed starts the goroutine that moves messages from an inbox to ch as the
// consumer takes them, and closes ch. settled says that the hand-off settles.
func feed[T any](b *inbox, ch chan T, convert func(Delivery) (v T, settled bool)) {
	ok := b.s.start(func() {
		defer close(ch)
		stop := b.s.boxes.stop
		chunk := make([]Delivery, 0, 8)
		for chunk = b.take(nil, chunk); len(chunk) > 0; chunk = b.take(nil, chunk[:0]) {
			for i, d := range chunk {
				v, settled := convert(d)
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
				if settled {
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

// All returns an iterator over the messages. A message is settled when the loop
// asks for the next one; leaving the loop does not settle the last one. It ends
// without an error when the client was closed or unsubscribed, otherwise with
// the reason: that of ctx, or Err.
func (b *inbox) All(ctx context.Context) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		stop := b.s.boxes.stop
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
