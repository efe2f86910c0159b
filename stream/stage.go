package stream

import (
	"context"
	"sync"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// A stage is one call of PublishFrom: a goroutine that takes messages from the
// user's channel, passes them to the loop in rows, and puts the Receipts into the
// order of the messages.
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
}

// results is what became of n messages in a row, from a place on: all of it the
// same, but that identifiers rise from id, if they have any. The stage has the
// messages itself: passing whole Receipts back took a tenth of the time of a
// publish.
type results struct {
	place uint64
	n     uint64
	id    uint16 // of the first; 0: they have none
	err   error
}

// add takes more into the row, if they go on with it.
func (r *results) add(next results) bool {
	if next.err != nil || r.err != nil || next.place != r.place+r.n {
		return false
	}
	if (next.id != 0 || r.id != 0) && (r.id == 0 || int(next.id) != int(r.id)+int(r.n)) {
		return false
	}
	r.n += next.n
	return true
}

// intake is a row of one stage on its way to the loop. The messages stay where the
// stage has them, and are the loop's to read until they have ended: to copy each
// into a list, and from there into the queue, took a fifth of the time of a publish.
type intake struct {
	stage *stage
	place uint64 // of the first
	row   []frames.Message
}

// stageBatch is how many messages go to the loop at once, and how many Receipts may
// wait for their reader: each time costs a turn of the loop and two changes of
// goroutine. 256 are a seventh slower, and more are no faster.
const stageBatch = 1024

// fitsAnyTopic is a payload that is within the limit of a packet with whatever topic.
const fitsAnyTopic = 1 << 20

// PublishFrom publishes what in delivers and returns the Receipts, in the order
// of the messages. The channel is closed when in is closed and everything from
// it has ended, or when ctx or the session ends; it must be read until then.
// When ctx ends, what is still queued is withdrawn.
func (s *Session) PublishFrom(ctx context.Context, in <-chan frames.Message) <-chan Receipt {
	return publishFrom(ctx, s, func(m, to *frames.Message) error { *to = *m; return nil }, in)
}

// PublishFrom is Session.PublishFrom for values of any type: enc makes messages
// of them. A value that cannot be encoded comes back as the Tag of a Receipt
// whose Err wraps ErrNotSent and the reason.
func PublishFrom[T any](ctx context.Context, s *Session, enc func(T) (frames.Message, error), in <-chan T) <-chan Receipt {
	encode := func(v *T, to *frames.Message) (err error) {
		*to, err = enc(*v)
		return err
	}
	if enc == nil {
		encode = func(*T, *frames.Message) error {
			return badOption("enc", "is nil; PublishFrom needs an Encoder")
		}
	}
	return publishFrom(ctx, s, encode, in)
}

func publishFrom[T any](ctx context.Context, s *Session, encode func(*T, *frames.Message) error, in <-chan T) <-chan Receipt {
	st := &stage{
		s: s, ctx: ctx,
		out:  make(chan Receipt, max(256, min(stageBatch, s.options.Window+s.options.Queue))),
		wake: make(chan struct{}, 1),
	}
	s.takers.running.Add(1)
	if !s.start(func() { runStage(st, encode, in) }) {
		st.leave()
	}
	return st.out
}

func runStage[T any](st *stage, encode func(*T, *frames.Message) error, in <-chan T) {
	defer st.leave()

	limit := st.s.options.Window + st.s.options.Queue
	cancel, stopping := st.ctx.Done(), st.s.intakeEnds
	order := &st.order
	var v, none T
	valid := "" // the last topic that was
	take := func() {
		m := order.reserve()
		err := encode(&v, m)
		// A topic that comes again is not looked through again: a twentieth of the time.
		again := m.Topic == valid && valid != "" && m.QoS <= frames.ExactlyOnce && len(m.Payload) <= fitsAnyTopic
		if err == nil && !again {
			if err = m.Validate(st.s.options.Version); err == nil {
				valid = m.Topic
			}
		}
		if err != nil {
			order.refuse(v, notSent(err))
		}
	}
	for in != nil || order.open() > 0 {
		source, intakes := in, st.s.intakes
		if !order.takes(limit) {
			source = nil
		}
		row := intake{st, order.handed, order.row()}
		if len(row.row) == 0 {
			intakes = nil
		}
		var receipt Receipt
		var out chan Receipt
		if order.first(&receipt) {
			out = st.out
		}
		before, ok := order.next, false
		select {
		case v, ok = <-source:
			if !ok {
				in = nil
				break
			}
			take()
			for ok && order.takes(limit) {
				select {
				case v, ok = <-in:
					if ok {
						take()
					} else {
						in = nil
					}
				default:
					ok = false
				}
			}
			v = none // it may be large, and the next one far
			st.s.takers.waiting.Add(int64(order.next - before))
		case intakes <- row:
			order.hand()
		case out <- receipt:
			order.pop()
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
	if row := st.order.row(); len(row) > 0 {
		st.order.put(results{place: st.order.handed, n: uint64(len(row)), err: notSent(cause)})
		st.order.hand()
	}
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
	var receipt Receipt
	for st.order.first(&receipt) {
		select {
		case st.out <- receipt:
			st.order.pop()
			sent++
		default:
			return
		}
	}
}

// admit accepts a row of a stage as far as the queue has room. The rest waits in
// front of whatever the stages send next.
func (l *loop) admit(in intake) {
	l.waiting = intake{}
	for len(in.row) > 0 {
		room := l.s.options.Queue - l.sender.Queued()
		if room <= 0 {
			l.waiting = in
			return
		}
		n := 0 // of QoS 0
		for n < min(room, len(in.row)) && in.row[n].QoS == frames.AtMostOnce {
			n++
		}
		o := owner{stage: in.stage, place: in.place}
		if n >= flow.MinRow {
			l.sender.AddRow(in.row[:n], o)
		} else {
			n = max(1, n)
			for _, m := range in.row[:n] {
				l.sender.Add(m, o)
				o.place++
			}
		}
		in.row, in.place = in.row[n:], in.place+uint64(n)
	}
}

// stageResult notes the end of messages of a stage for wakeStages.
func (l *loop) stageResult(st *stage, r results) {
	last := len(st.turn) - 1
	switch {
	case last < 0:
		l.dirty = append(l.dirty, st)
	case st.turn[last].add(r):
		return
	}
	st.turn = append(st.turn, r)
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

// refuseWaiting ends the part of a row that found no room in the queue.
func (l *loop) refuseWaiting(cause error) {
	if in := l.waiting; len(in.row) > 0 {
		l.stageResult(in.stage, results{place: in.place, n: uint64(len(in.row)), err: notSent(cause)})
	}
	l.waiting = intake{}
}
