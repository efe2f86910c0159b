package stream

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// A stage is a call of PublishFrom or PublishBatches as the loop knows it. Its goroutine, which is
// stageRunner.run, receives values from the user's channel, passes their messages to the loop in
// runs, and sends the Receipts in the order of the messages.
type stage struct {
	ctx   context.Context
	limit int // the maximum number of messages without a Receipt

	life     *life
	counts   *receiptCounts
	runs     chan<- stageRun    // to the loop
	withdraw func(*stage)       // tells the loop that ctx has ended
	dropped  func(receipts int) // tells the loop that nobody receives them

	wake chan struct{} // cap 1, from the loop: ended has results
	turn []results     // owned by the loop: results of its present turn

	mu    sync.Mutex
	ended []results // from the loop to the goroutine

	taken []results // owned by the goroutine: spare memory of ended
}

// A stageBuffer keeps the messages of a stage until they and all earlier messages have their
// results. In is the type of the values that the user sends, and Out is the type of their Receipts.
// The goroutine of the stage owns the buffer.
type stageBuffer[In, Out any] interface {
	takes(limit int) bool                                         // reports whether another value may be taken
	take(v In, in <-chan In, limit int) (messages int, open bool) // takes v, and more values that in has ready; open is false when in is closed
	run() (place uint64, messages []frames.Message)               // returns the messages that are to be passed to the loop next
	passOn()                                                      // records that they were passed
	put(r results)                                                // records results
	first(out *Out) bool                                          // returns the Receipts that are next in order, or false
	pop() (receipts int)                                          // removes them
	open() int                                                    // counts the messages whose Receipts were not removed
	empty() bool                                                  // reports whether the Receipts of all values were removed
}

// A stageRun is a sequence of messages on its way to the loop. The messages stay in the memory of
// the stage, which does not change them until each has its result. So the loop reads them without a
// copy: copying each message into a list, and from there into the queue, took a fifth of the time
// of a publish.
type stageRun struct {
	stage    *stage
	place    uint64 // of the first message, counted from the start of the stage
	messages []frames.Message
}

func newStage(ctx context.Context, limit int) *stage {
	return &stage{ctx: ctx, limit: limit, wake: make(chan struct{}, 1)}
}

// A stageRunner is the state of the goroutine of a stage.
type stageRunner[In, Out any] struct {
	*stage
	buffer stageBuffer[In, Out]
	out    chan Out // the goroutine sends to it and closes it
	next   Out      // the Receipts that are next in order; a field, since a variable would be allocated each time
	handed uint64   // how many Receipts were sent
}

// run is the goroutine of a stage. It receives from in until in is closed.
func (st *stageRunner[In, Out]) run(in <-chan In) {
	defer st.leave()
	defer close(st.out)
	cancel, stopping, abandon := st.ctx.Done(), st.life.intakeEnds.wait(), st.counts.abandon.wait()
	if stopping == nil || abandon == nil {
		return // the session has ended
	}
	var grace <-chan time.Time // runs after ctx has ended
	var left uint64            // handed when it began
	for in != nil || !st.buffer.empty() {
		source, runs := in, st.runs
		behind, takes := st.takes()
		if !takes {
			source = nil
		}
		run := stageRun{stage: st.stage}
		if run.place, run.messages = st.buffer.run(); len(run.messages) == 0 {
			runs = nil
		}
		var out chan Out
		if st.buffer.first(&st.next) {
			out = st.out
		}
		select {
		case v, ok := <-source:
			if !ok || !st.take(v, in) {
				in = nil
			}
		case runs <- run:
			st.buffer.passOn()
		case out <- st.next:
			st.emit(st.buffer.pop())
		case <-st.wake:
			st.collect()
		case <-behind: // takes more now
		case <-cancel:
			in, cancel = nil, nil
			st.refuse(context.Cause(st.ctx))
			st.withdraw(st.stage)
			grace, left = time.After(receiptGrace), st.handed
		case <-grace:
			if st.handed == left { // nobody has received a Receipt since
				st.abandon()
				return
			}
			grace, left = time.After(receiptGrace), st.handed
		case <-stopping:
			in, stopping = nil, nil
			st.refuse(st.life.closed())
		case <-abandon:
			return
		}
	}
}

// take takes v, and more values that in has ready. It returns false when in is closed.
func (st *stageRunner[In, Out]) take(v In, in <-chan In) (open bool) {
	n, open := st.buffer.take(v, in, st.limit)
	st.counts.waiting.Add(int64(n))
	return open
}

// takes reports whether the stage may receive another value. A stage at its limit may if the
// session is behind; if it is not, behind is closed when that begins.
func (st *stageRunner[In, Out]) takes() (behind <-chan struct{}, takes bool) {
	if st.buffer.takes(st.limit) {
		return nil, true
	}
	if !st.buffer.takes(math.MaxInt) {
		return nil, false
	}
	behind = st.counts.behind.wait()
	return behind, behind == nil
}

// abandon drops the Receipts that nobody receives after ctx has ended.
func (st *stageRunner[In, Out]) abandon() {
	n := st.buffer.open()
	st.counts.took(n)
	st.dropped(n)
}

// refuse ends the messages that were not yet passed to the loop.
func (st *stageRunner[In, Out]) refuse(cause error) {
	for {
		place, messages := st.buffer.run()
		if len(messages) == 0 {
			return
		}
		st.buffer.put(results{place: place, n: uint64(len(messages)), err: notSent(cause)})
		st.buffer.passOn()
	}
}

// collect moves the results from the loop into the buffer, and sends Receipts.
func (st *stageRunner[In, Out]) collect() {
	ended := st.takeResults()
	for _, r := range ended {
		st.buffer.put(r)
	}
	clear(ended)
	st.emit(0)
}

// emit sends the Receipts that are next in order, until the channel is full. The parameter sent is
// how many were sent just before.
func (st *stageRunner[In, Out]) emit(sent int) {
	for full := false; !full && st.buffer.first(&st.next); {
		select {
		case st.out <- st.next:
			sent += st.buffer.pop()
		default:
			full = true
		}
	}
	var none Out
	st.next = none // frees its memory, since the next Receipts may come late
	st.counts.took(sent)
	st.handed += uint64(sent)
}

// leave is the last call of the stage's goroutine.
func (st *stage) leave() {
	st.counts.senders.Add(-1)
	st.life.wake()
}

// takeResults returns the results from the loop. The slice is valid until the next call.
func (st *stage) takeResults() []results {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.ended, st.taken = st.taken[:0], st.ended
	return st.taken
}

// add records results. The loop calls it during a turn.
func (st *stage) add(r results) {
	if last := len(st.turn) - 1; last < 0 || !st.turn[last].add(r) {
		st.turn = append(st.turn, r)
	}
}

// passTurn passes the results of a turn of the loop to the goroutine of the stage.
func (st *stage) passTurn() {
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
