package stream

import (
	"context"
	"iter"
)

// The methods here lend messages to a consumer, so that the memory in which they lie is used again.

// AllBatches returns an iterator over Batches of at most max messages. A Batch and the payloads in
// it are lent until the range loop asks for the next Batch, which acknowledges it. A break leaves
// the last Batch unacknowledged, and the consumer may keep it.
func (b *inbox) AllBatches(ctx context.Context, max int) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		if err := (batching{max: max}).check(); err != nil {
			yield(nil, err)
			return
		}
		b.rangeLoops(1)
		defer b.rangeLoops(-1)
		stop := b.all.stopping()
		c := chunk{lends: true}
		defer func() { // after a break, or a panic in the loop body
			if len(c.deliveries) > 0 {
				b.giveBack(&c, true)
				b.done(&c, len(c.deliveries))
			}
		}()
		for !isOver(stop, ctx) {
			c.empty(max, fullBatch)
			if b.takeInto(ctx.Done(), &c); len(c.deliveries) == 0 {
				break
			}
			if b.left.Load() {
				b.giveBack(&c, true)
				b.done(&c, 0)
				c.deliveries = nil
				break
			}
			b.all.hands.over(&c, len(c.deliveries))
			if !yield(c.deliveries, nil) {
				return
			}
			Batch(c.deliveries).Ack()
			b.giveBack(&c, false)
			b.done(&c, len(c.deliveries))
			clear(c.deliveries)
			c.deliveries = c.deliveries[:0]
		}
		if err := b.endOf(ctx); err != nil {
			yield(nil, err)
		}
	}
}

// giveBack ends the loans of c. If kept is set, their read buffers are never used again.
func (b *inbox) giveBack(c *chunk, kept bool) {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	for _, l := range c.loans {
		l.of.returned(l.buffer, l.n, kept)
	}
	c.loans = c.loans[:0]
}
