package stream

import (
	"context"
	"sync"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// A stage is one call of PublishFrom: a goroutine that takes messages from the
// user's channel in batches, passes them to the loop, and puts the Receipts
// into the order of the messages.
type stage struct {
	s    *Session
	ctx  context.Context
	out  chan Receipt  // the goroutine sends and closes
	wake chan struct{} // cap 1, from the loop: ended has something

	turn []results // owned by the loop: those of the turn under way

	mu    sync.Mutex
	ended []results // from the loop to the goroutine

	// Owned by the goroutine.
	order order
	taken []results // what ended was, to be used again
	batch intake    // taken from the user's channel, not yet by the loop
	spare []placing // the batch before, which the loop is done with at the next hand-over
}

// placing is a message and its place in the stage.
type placing struct {
	place   uint64
	message frames.Message
}

// results is what became of n messages in a row, from a place on: all ended well,
// with identifiers that rise from id, or without, unless n is 1. The stage has the
// messages itself: passing whole Receipts back took a tenth of the time of a
// publish.
type results struct {
	place uint64
	n     uint64
	id    uint16 // of the first; 0: they have none
	err   error
}

// add takes one more into the row, if it goes on with it.
func (r *results) add(place uint64, id uint16, err error) bool {
	if err != nil || r.err != nil || place != r.place+r.n {
		return false
	}
	if (id != 0 || r.id != 0) && (r.id == 0 || int(id) != int(r.id)+int(r.n)) {
		return false
	}
	r.n++
	return true
}

// intake is a batch of one stage on its way to the loop.
type intake struct {
	stage *stage
	list  []placing
}

// stageBatch is how many messages go to the loop at once; each time costs a turn
// of the loop and two changes of goroutine.
const stageBatch = 256

// PublishFrom publishes what in delivers and returns the Receipts, in the order
// of the messages. The channel is closed when in is closed and everything from
// it has ended, or when ctx or the session ends; it must be read until then.
// When ctx ends, what is still queued is withdrawn.
func (s *Session) PublishFrom(ctx context.Context, in <-chan frames.Message) <-chan Receipt {
	return PublishFrom(ctx, s, func(m frames.Message) (frames.Message, error) { return m, nil }, in)
}

// PublishFrom is Session.PublishFrom for values of any type: enc makes messages
// of them. A value that cannot be encoded comes back as the Tag of a Receipt
// whose Err wraps ErrNotSent and the reason.
func PublishFrom[T any](ctx context.Context, s *Session, enc func(T) (frames.Message, error), in <-chan T) <-chan Receipt {
	st := &stage{
		s: s, ctx: ctx,
		out:  make(chan Receipt, 256),
		wake: make(chan struct{}, 1),
	}
	st.batch.stage = st
	if enc == nil {
		enc = func(T) (m frames.Message, err error) {
			return m, badOption("enc", "is nil; PublishFrom needs an Encoder")
		}
	}
	s.takers.running.Add(1)
	if !s.start(func() { runStage(st, enc, in) }) {
		st.leave()
	}
	return st.out
}

func runStage[T any](st *stage, enc func(T) (frames.Message, error), in <-chan T) {
	defer st.leave()

	limit := st.s.options.Window + st.s.options.Queue
	cancel, stopping := st.ctx.Done(), st.s.intakeEnds
	take := func(v T) {
		m, err := enc(v)
		if err == nil {
			err = m.Validate(st.s.options.Version)
		}
		place := st.order.reserve(m)
		if err != nil {
			st.order.at(place).receipt.Tag = v
			st.order.put(results{place: place, n: 1, err: notSent(err)})
			return
		}
		st.batch.list = append(st.batch.list, placing{place, m})
	}
	for in != nil || len(st.batch.list) > 0 || st.order.open() > 0 {
		source, intakes := in, st.s.intakes
		if len(st.batch.list) >= stageBatch || st.order.open() >= limit {
			source = nil
		}
		if len(st.batch.list) == 0 {
			intakes = nil
		}
		var receipt Receipt
		var out chan Receipt
		if r := st.order.first(); r != nil {
			receipt, out = *r, st.out
		}
		before := st.order.next
		select {
		case v, ok := <-source:
			if !ok {
				in = nil
				break
			}
			take(v)
			for ok && len(st.batch.list) < stageBatch && st.order.open() < limit {
				select {
				case v, ok = <-in:
					if ok {
						take(v)
					} else {
						in = nil
					}
				default:
					ok = false
				}
			}
			st.s.takers.waiting.Add(int64(st.order.next - before))
		case intakes <- st.batch:
			st.batch.list, st.spare = st.spare[:0], st.batch.list
		case out <- receipt:
			st.order.pop()
			st.s.takers.took(1)
			st.emit()
		case <-st.wake:
			st.collect()
		case <-cancel:
			in, cancel = nil, nil
			st.refuse(context.Cause(st.ctx))
			st.s.call(func(l *loop) { l.withdrawStage(st) })
		case <-stopping:
			in, stopping = nil, nil
			st.refuse(st.s.endedBy())
		case <-st.s.takers.abandon:
			return
		}
	}
}

func (st *stage) leave() {
	close(st.out)
	st.s.takers.running.Add(-1)
	st.s.poke()
}

// refuse ends what the loop has not taken.
func (st *stage) refuse(cause error) {
	for _, p := range st.batch.list {
		st.order.put(results{place: p.place, n: 1, err: notSent(cause)})
	}
	st.batch.list = nil
}

// collect takes over what the loop has ended.
func (st *stage) collect() {
	st.mu.Lock()
	st.ended, st.taken = st.taken[:0], st.ended
	st.mu.Unlock()
	for _, r := range st.taken {
		st.order.put(r)
	}
	clear(st.taken)
	st.emit()
}

// emit sends what is in order for as long as the channel has room.
func (st *stage) emit() {
	sent := 0
	defer func() { st.s.takers.took(sent) }()
	for r := st.order.first(); r != nil; r = st.order.first() {
		select {
		case st.out <- *r:
			st.order.pop()
			sent++
		default:
			return
		}
	}
}

// admit accepts a batch of a stage as far as the queue has room. The rest waits
// in front of whatever the stages send next.
func (l *loop) admit(in intake) {
	for i, p := range in.list {
		if l.sender.Queued() >= l.s.options.Queue {
			in.list = in.list[i:]
			l.waiting = in
			return
		}
		l.sender.Add(p.message, owner{stage: in.stage, place: p.place})
	}
	l.waiting = intake{}
}

// stageResult notes the end of a stage's message for wakeStages.
func (l *loop) stageResult(o *owner, id uint16, err error) {
	st := o.stage
	last := len(st.turn) - 1
	switch {
	case last < 0:
		l.dirty = append(l.dirty, st)
	case st.turn[last].add(o.place, id, err):
		return
	}
	st.turn = append(st.turn, results{o.place, 1, id, err})
}

// wakeStages passes the results of this turn on: one lock and at most one
// wake-up for each stage.
func (l *loop) wakeStages() {
	for i, st := range l.dirty {
		st.mu.Lock()
		if len(st.ended) == 0 {
			st.ended, st.turn = st.turn, st.ended
		} else {
			st.ended = append(st.ended, st.turn...)
			clear(st.turn)
		}
		st.mu.Unlock()
		st.turn = st.turn[:0]
		select {
		case st.wake <- struct{}{}:
		default:
		}
		l.dirty[i] = nil
	}
	l.dirty = l.dirty[:0]
}

// withdrawStage ends what a stage has pending, since its context has ended.
func (l *loop) withdrawStage(st *stage) {
	cause := context.Cause(st.ctx)
	if l.waiting.stage == st {
		l.refuseWaiting(cause)
	}
	var pending []flow.Handle
	l.sender.Each(func(h flow.Handle, o owner) {
		if o.stage == st {
			pending = append(pending, h)
		}
	})
	for _, h := range pending {
		l.withdraw(h, cause)
	}
}

// refuseWaiting ends the part of a batch that found no room in the queue.
func (l *loop) refuseWaiting(cause error) {
	for _, p := range l.waiting.list {
		l.stageResult(&owner{stage: l.waiting.stage, place: p.place}, 0, notSent(cause))
	}
	l.waiting = intake{}
}
