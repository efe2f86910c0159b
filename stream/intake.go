package stream

import (
	"runtime"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// An intake accepts publications from users.
//
// Invariant: every publication that was received is accepted. So with flow.Block no publication is
// received while the queue is full. If a run has more messages than the queue has room for, the
// remaining messages wait in resting and are accepted before any publication that is received
// later. In the other modes nothing waits here, since overflow finds room or refuses.
type intake struct {
	publishes chan Publishing // from users, unbuffered
	runs      chan stageRun   // from stages, unbuffered; made with the first stage
	resting   stageRun        // the part of a run that found no room

	noYield time.Duration // before this time the loop does not yield to publishers

	calls     *publishCalls
	taken     []*publishCall // spare memory
	callsLeft bool           // calls wait for room in the queue
	overflows bool           // Options.Full is not Block: publications are received although the queue is full
	behind    bool           // publications are received although the queue is full, and end with ErrBehind

	flushes []flushCall
}

// A flushCall waits for the publications up to a sequence number of flow.Sender.
type flushCall struct {
	seq   uint64
	reply chan<- error // cap 1
}

func newIntake(overflows bool, calls *publishCalls) intake {
	return intake{calls: calls, publishes: make(chan Publishing), overflows: overflows}
}

// channels returns the channels to receive from. Both are nil while the queue is full, unless
// something else than waiting becomes of the publications.
func (in *intake) channels(room flow.Room) (<-chan Publishing, <-chan stageRun) {
	if !room.Left() && !in.behind && !in.overflows {
		return nil, nil
	}
	return in.publishes, in.runs
}

// stageRuns returns the channel that stages send their runs to.
func (in *intake) stageRuns() chan<- stageRun {
	if in.runs == nil {
		in.runs = make(chan stageRun)
	}
	return in.runs
}

// takeCalls returns the Publish calls to be accepted now. The slice is valid until takeCalls is
// called again.
func (in *intake) takeCalls(room flow.Room) []*publishCall {
	clear(in.taken)
	if in.overflows {
		in.taken = in.calls.takeAll(in.taken[:0])
	} else {
		in.taken, in.callsLeft = in.calls.take(in.taken[:0], room)
	}
	return in.taken
}

// shrink frees the memory of an idle session.
func (in *intake) shrink() {
	in.calls.shrink()
	if !in.behind {
		in.taken = nil
	}
}

// rests reports whether a part of a run waits for room.
func (in *intake) rests() bool { return len(in.resting.messages) > 0 }

// ready reports whether there is room for the rest of a run.
func (in *intake) ready(room flow.Room) bool { return in.rests() && room.Left() }

// callsReady reports whether there is room for calls that found none before.
func (in *intake) callsReady(room flow.Room) bool { return in.callsLeft && room.Left() }

// refuseCalls ends the calls that find no room while the session is behind.
func (in *intake) refuseCalls(r *receipts, cause error) {
	if in.callsLeft {
		in.refuse(r, in.calls.takeAll(nil), cause)
	}
}

// end refuses all publishings from now on, and ends the calls that wait.
func (in *intake) end(life *life, r *receipts) {
	life.endIntake()
	in.refuse(r, in.calls.close(), life.closed())
}

func (in *intake) refuse(r *receipts, calls []*publishCall, cause error) {
	in.callsLeft = false
	for _, call := range calls {
		r.refuse([]frames.Message{call.message}, owner{tag: call}, cause)
	}
}

// leaveRest stores the part of a run that found no room.
func (in *intake) leaveRest(run stageRun) { in.resting = run }

// takeRest returns the part of a run that found no room, and removes it from the intake.
func (in *intake) takeRest() stageRun {
	run := in.resting
	in.resting = stageRun{}
	return run
}

// refuseRest ends the messages of a run that did not fit into the queue. Calls of Flush do not wait
// for these messages any more, only for publications up to seq, which was accepted last.
func (in *intake) refuseRest(r *receipts, seq uint64, cause error) {
	if run := in.takeRest(); len(run.messages) > 0 {
		r.refuse(run.messages, run.owner(0), cause)
	}
	for i, f := range in.flushes {
		in.flushes[i].seq = min(f.seq, seq)
	}
}

// flush adds a call of Flush. It waits for the publications up to seq, which was accepted last, and
// for the rest of a run, whose messages are accepted next.
func (in *intake) flush(seq uint64, reply chan<- error) {
	in.flushes = append(in.flushes, flushCall{seq + uint64(len(in.resting.messages)), reply})
}

// flushed ends the calls of Flush that wait for publications before oldest.
func (in *intake) flushed(oldest uint64) {
	in.flushes = slices.DeleteFunc(in.flushes, func(f flushCall) bool {
		if f.seq >= oldest {
			return false
		}
		f.reply <- nil
		return true
	})
}

// endFlushes ends the calls of Flush with err.
func (in *intake) endFlushes(err error) {
	for _, f := range in.flushes {
		f.reply <- err
	}
	in.flushes = nil
}

// dropFlush forgets a call of Flush that has stopped waiting.
func (in *intake) dropFlush(flush chan<- error) {
	in.flushes = slices.DeleteFunc(in.flushes, func(f flushCall) bool { return f.reply == flush })
}

// owner returns the owner of the messages in flow.Sender, where the first has the sequence number
// seq.
func (run *stageRun) owner(seq uint64) owner { return owner{tag: run.stage, shift: run.place - seq} }

// first splits the first message off a run.
func (run *stageRun) first() (part stageRun) {
	part = stageRun{run.stage, run.place, run.messages[:1]}
	run.messages, run.place = run.messages[1:], run.place+1
	return part
}

// take splits the first part off a run, for flow.Sender.AddRun: its messages are all at QoS 0 or
// all above, and expire at the same time. The part takes no more than room, so it may be empty.
func (run *stageRun) take(room flow.Room) (part stageRun) {
	first, n := &run.messages[0], 0
	alone, qos0 := expires(first), first.QoS == frames.AtMostOnce
	for ; n < len(run.messages); n++ {
		m := &run.messages[n]
		if n > 0 && (alone || (m.QoS == frames.AtMostOnce) != qos0 || expires(m)) || !room.Take(m) {
			break
		}
	}
	part = stageRun{run.stage, run.place, run.messages[:n]}
	run.messages, run.place = run.messages[n:], run.place+uint64(n)
	return part
}

// expires reports whether m has an expiry interval of its own.
func expires(m *frames.Message) (ok bool) {
	if m.Properties != nil {
		_, ok = m.Properties.Left(time.Time{})
	}
	return ok
}

// acceptBatch is the maximum number of publishings that the loop receives before a turn.
const acceptBatch = 256

// If a yield takes longer than slowYield, all processors are busy. Then the loop does not yield
// again for yieldPause times the duration of that yield.
const (
	slowYield  = 5 * time.Millisecond // half a time slice
	yieldPause = 20
)

// another receives one more publishing, if a publisher is ready to send. When the channel is empty,
// the loop yields the processor and tries again, because the publisher whose send has just returned
// is about to send its next message. Without the yield each message of a single publisher costs a
// turn and a write call, which takes five times as long. There are two yields, since the scheduler
// sometimes resumes the yielding goroutine first.
func (in *intake) another(c *clock) (p Publishing, ok bool) {
	for yields := 0; ; yields++ {
		select {
		case p = <-in.publishes:
			return p, true
		default:
		}
		if yields == 2 || c.now < in.noYield {
			return p, false
		}
		began := c.now
		runtime.Gosched()
		c.tick()
		if took := c.now - began; took > slowYield {
			in.noYield = c.now + yieldPause*took
		}
	}
}
