package stream

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// A publishStage is the state of one call of PublishFrom. Its goroutine receives messages from the
// user's channel, passes them to the loop in runs, and sends the Receipts in the order of the
// messages.
type publishStage struct {
	ctx     context.Context
	version frames.Version // the protocol version that messages are validated for
	limit   int            // the maximum number of messages without a Receipt

	life     *life
	counts   *receiptCounts
	runs     chan<- stageRun     // to the loop
	withdraw func(*publishStage) // tells the loop that ctx has ended
	dropped  func(receipts int)  // tells the loop that nobody receives them

	out  chan Receipt  // the goroutine sends to it and closes it
	wake chan struct{} // cap 1, from the loop: ended has results

	turn []results // owned by the loop: results of its present turn

	mu    sync.Mutex
	ended []results // from the loop to the goroutine

	// Owned by the goroutine.
	order reorderBuffer
	taken []results // spare memory of ended
}

// A stageRun is a sequence of messages on its way to the loop. The messages stay in the memory of
// the stage, which does not change them until each has its result. So the loop reads them without a
// copy: copying each message into a list, and from there into the queue, took a fifth of the time
// of a publish.
type stageRun struct {
	stage    *publishStage
	place    uint64 // of the first message, counted from the start of the stage
	messages []frames.Message
}

const (
	// stageBatch is how many messages go to the loop at once, and how many Receipts may wait for
	// their reader. Each batch costs a turn of the loop and two switches between goroutines.
	// Batches of 256 are a seventh slower, and larger batches are no faster.
	stageBatch = 1024

	// fitsAnyTopic is a payload size that fits into a packet together with the longest topic.
	fitsAnyTopic = 1 << 20
)

// newStage returns a stage whose fields life, counts, runs, withdraw and dropped are not yet set.
func newStage(ctx context.Context, v frames.Version, limit int) *publishStage {
	return &publishStage{
		ctx: ctx, version: v, limit: limit,
		out:  make(chan Receipt, max(256, min(stageBatch, limit))),
		wake: make(chan struct{}, 1),
	}
}

// encoder is the part of a stage that knows the type of the user's values. It fills places of the
// reorderBuffer.
type encoder[T any] struct {
	stage  *publishStage
	encode func(*T, *frames.Message) error
	value  T      // a field, so that the stage allocates it once: encode makes it escape to the heap
	valid  string // the topic of the last message that was valid
}

// take encodes e.value into the next place of the reorderBuffer.
func (e *encoder[T]) take() {
	m := e.stage.order.reserve()
	err := e.encode(&e.value, m)
	// The topic of the previous message is not validated again, which saves a twentieth of the
	// time.
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

// takeAll encodes e.value and all values that in has ready. It returns false when in is closed.
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
	e.value = none // frees its memory, since the next value may come late
	e.stage.counts.waiting.Add(int64(e.stage.order.next - before))
	return open
}

// runStage is the goroutine of a stage.
func runStage[T any](st *publishStage, encode func(*T, *frames.Message) error, in <-chan T) {
	defer st.leave()
	e := &encoder[T]{stage: st, encode: encode}
	cancel, stopping, abandon := st.ctx.Done(), st.life.intakeEnds.wait(), st.counts.abandon.wait()
	if stopping == nil || abandon == nil {
		return // the session has ended
	}
	order := &st.order
	var grace <-chan time.Time // runs after ctx has ended
	var left uint64            // order.head when it began
	for in != nil || order.open() > 0 {
		source, runs := in, st.runs
		behind, takes := st.takes()
		if !takes {
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
		case <-behind: // takes more now
		case <-cancel:
			in, cancel = nil, nil
			st.refuse(context.Cause(st.ctx))
			st.withdraw(st)
			grace, left = time.After(receiptGrace), order.head
		case <-grace:
			if order.head == left { // nobody has received a Receipt since
				st.abandon()
				return
			}
			grace, left = time.After(receiptGrace), order.head
		case <-stopping:
			in, stopping = nil, nil
			st.refuse(st.life.closed())
		case <-abandon:
			return
		}
	}
}

// takes reports whether the stage may receive another message. A stage at its limit may if the
// session is behind; if it is not, behind is closed when that begins.
func (st *publishStage) takes() (behind <-chan struct{}, takes bool) {
	if st.order.takes(st.limit) {
		return nil, true
	}
	if !st.order.takes(math.MaxInt) {
		return nil, false
	}
	behind = st.counts.behind.wait()
	return behind, behind == nil
}

// abandon drops the Receipts that nobody receives after ctx has ended.
func (st *publishStage) abandon() {
	n := st.order.open()
	st.counts.took(n)
	st.dropped(n)
}

// leave closes the channel of Receipts. It is the last call of the stage's goroutine.
func (st *publishStage) leave() {
	close(st.out)
	st.counts.senders.Add(-1)
	st.life.wake()
}

// refuse ends the messages that were not yet passed to the loop.
func (st *publishStage) refuse(cause error) {
	if run := st.order.run(); len(run) > 0 {
		st.order.put(results{place: st.order.passed, n: uint64(len(run)), err: notSent(cause)})
		st.order.passOn()
	}
}

// collect moves the results from the loop into the reorderBuffer, and sends Receipts.
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

// emit sends the Receipts that are next in order, until the channel is full.
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

// add records results. The loop calls it during a turn.
func (st *publishStage) add(r results) {
	if last := len(st.turn) - 1; last < 0 || !st.turn[last].add(r) {
		st.turn = append(st.turn, r)
	}
}

// passTurn passes the results of a turn of the loop to the goroutine of the stage.
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
