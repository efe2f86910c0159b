package stream

import (
	"context"
	"sync"

	"github.com/go-millrace/mqtt/frames"
)

// A publishStage is one call of PublishFrom: a goroutine that takes messages from the user's
// channel, passes them to the loop in runs, and puts the Receipts into the order of the messages.
type publishStage struct {
	ctx     context.Context
	version frames.Version // that messages must fit
	limit   int            // of messages without a Receipt

	life     *life
	counts   *receiptCounts
	runs     chan<- stageRun     // to the loop
	withdraw func(*publishStage) // tells the loop that ctx has ended

	out  chan Receipt  // the goroutine sends and closes
	wake chan struct{} // cap 1, from the loop: ended has results

	turn []results // owned by the loop: results of the turn under way

	mu    sync.Mutex
	ended []results // from the loop to the goroutine

	// Owned by the goroutine.
	order reorderBuffer
	taken []results // spare memory of ended
}

// A stageRun is a run of messages on its way to the loop. They stay in the memory of the stage, and
// are the loop's to read until they have ended: copying each into a list, and from there into the
// queue, took a fifth of the time of a publish.
type stageRun struct {
	stage    *publishStage
	place    uint64 // of the first
	messages []frames.Message
}

const (
	// stageBatch is how many messages go to the loop at once, and how many Receipts may wait for
	// their reader: each time costs a turn of the loop and two changes of goroutine. 256 is a
	// seventh slower, and more is no faster.
	stageBatch = 1024

	// fitsAnyTopic is a payload that stays within the limit of a packet with any topic.
	fitsAnyTopic = 1 << 20
)

// newStage returns a stage without the ways to its session.
func newStage(ctx context.Context, v frames.Version, limit int) *publishStage {
	return &publishStage{
		ctx: ctx, version: v, limit: limit,
		out:  make(chan Receipt, max(256, min(stageBatch, limit))),
		wake: make(chan struct{}, 1),
	}
}

// encoder is the part of a stage that knows the type of the user's values: it fills places of the
// reorderBuffer.
type encoder[T any] struct {
	stage  *publishStage
	encode func(*T, *frames.Message) error
	value  T      // here, since encode makes it escape: one allocation for the stage, not one for each value
	valid  string // the topic of the last message that was valid
}

// take encodes the value into the next place.
func (e *encoder[T]) take() {
	m := e.stage.order.reserve()
	err := e.encode(&e.value, m)
	// A topic that comes again is not validated again: a twentieth of the time.
	again := m.Topic == e.valid && e.valid != "" && m.QoS <= frames.ExactlyOnce && len(m.Payload) <= fitsAnyTopic
	if err == nil && !again {
		if err = m.Validate(e.stage.version); err == nil {
			e.valid = m.Topic
		}
	}
	if err != nil {
		e.stage.order.refuse(e.value, notSent(err))
	}
}

// takeAll takes the value and all others that the channel has at once; false when it is closed.
func (e *encoder[T]) takeAll(in <-chan T) (open bool) {
	before := e.stage.order.next
	e.take()
	open = true
	for ready := true; ready && open && e.stage.order.takes(e.stage.limit); {
		select {
		case e.value, open = <-in:
			if open {
				e.take()
			}
		default:
			ready = false
		}
	}
	var none T
	e.value = none // it may be large, and the next one far
	e.stage.counts.waiting.Add(int64(e.stage.order.next - before))
	return open
}

// runStage is the goroutine of a stage.
func runStage[T any](st *publishStage, encode func(*T, *frames.Message) error, in <-chan T) {
	defer st.leave()
	e := &encoder[T]{stage: st, encode: encode}
	cancel, stopping := st.ctx.Done(), st.life.intakeEnds
	order := &st.order
	for in != nil || order.open() > 0 {
		source, runs := in, st.runs
		if !order.takes(st.limit) {
			source = nil
		}
		run := stageRun{st, order.passed, order.run()}
		if len(run.messages) == 0 {
			runs = nil
		}
		var receipt Receipt
		var out chan Receipt
		if order.first(&receipt) {
			out = st.out
		}
		var ok bool
		select {
		case e.value, ok = <-source:
			if !ok || !e.takeAll(in) {
				in = nil
			}
		case runs <- run:
			order.passOn()
		case out <- receipt:
			order.pop()
			st.counts.took(1)
			st.emit()
		case <-st.wake:
			st.collect()
		case <-cancel:
			in, cancel = nil, nil
			st.refuse(context.Cause(st.ctx))
			st.withdraw(st)
		case <-stopping:
			in, stopping = nil, nil
			st.refuse(st.life.closed())
		case <-st.counts.abandon:
			return
		}
	}
}

// leave ends the stage.
func (st *publishStage) leave() {
	close(st.out)
	st.counts.senders.Add(-1)
	st.life.wake()
}

// refuse ends the messages that the loop has not taken.
func (st *publishStage) refuse(cause error) {
	if run := st.order.run(); len(run) > 0 {
		st.order.put(results{place: st.order.passed, n: uint64(len(run)), err: notSent(cause)})
		st.order.passOn()
	}
}

// collect takes the results over that the loop has passed on.
func (st *publishStage) collect() {
	st.mu.Lock()
	st.ended, st.taken = st.taken[:0], st.ended
	st.mu.Unlock()
	for _, r := range st.taken {
		st.order.put(r)
	}
	clear(st.taken)
	st.emit()
}

// emit sends the Receipts that are next in order for as long as the channel has room.
func (st *publishStage) emit() {
	sent := 0
	defer func() { st.counts.took(sent) }()
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

// add records results in the loop's turn.
func (st *publishStage) add(r results) {
	if last := len(st.turn) - 1; last < 0 || !st.turn[last].add(r) {
		st.turn = append(st.turn, r)
	}
}

// passTurn passes the results of the loop's turn to the goroutine.
func (st *publishStage) passTurn() {
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
}
