package stream

import (
	"runtime"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// An intake takes publications in.
//
// Invariant: a publication that was received was accepted. So none is received while the queue is
// full, and the rest of a run that found no room rests here, in front of everything that is
// received later.
type intake struct {
	publishes chan Publishing // from users, unbuffered
	runs      chan stageRun   // from stages, unbuffered
	limit     int             // Options.Queue
	resting   stageRun        // the rest of a run

	noYield time.Duration // until when publishers are not waited for

	calls     *publishCalls
	taken     []*publishCall // spare memory
	callsLeft bool           // calls wait that found no room

	flushes []chan struct{} // calls of Flush, closed when no publication is left
}

func newIntake(limit int, calls *publishCalls) intake {
	return intake{calls: calls, publishes: make(chan Publishing), runs: make(chan stageRun), limit: limit}
}

// channels returns the channels to receive from, nil while the queue is full. queued is its length.
func (in *intake) channels(queued int) (<-chan Publishing, <-chan stageRun) {
	if queued >= in.limit {
		return nil, nil
	}
	return in.publishes, in.runs
}

// takeCalls returns calls of Publish to be accepted. The slice is valid until the next call.
func (in *intake) takeCalls(queued int) []*publishCall {
	clear(in.taken)
	in.taken, in.callsLeft = in.calls.take(in.taken[:0], max(0, in.limit-queued))
	return in.taken
}

// rests reports whether the rest of a run waits for room.
func (in *intake) rests() bool { return len(in.resting.messages) > 0 }

// ready reports whether there is room for messages that wait for it here.
func (in *intake) ready(queued int) bool { return (in.rests() || in.callsLeft) && queued < in.limit }

// leaveRest keeps the rest of a run.
func (in *intake) leaveRest(run stageRun) { in.resting = run }

// takeRest returns the rest of a run and forgets it.
func (in *intake) takeRest() stageRun {
	run := in.resting
	in.resting = stageRun{}
	return run
}

// flushed ends the calls of Flush if no publication is left. pending is how many have no Receipt.
func (in *intake) flushed(pending int) {
	if len(in.flushes) == 0 || pending > 0 || in.rests() {
		return
	}
	for _, flush := range in.flushes {
		close(flush)
	}
	in.flushes = nil
}

// dropFlush forgets a call of Flush that waits no longer.
func (in *intake) dropFlush(flush chan struct{}) {
	in.flushes = slices.DeleteFunc(in.flushes, func(f chan struct{}) bool { return f == flush })
}

// take splits the first part off a run: at most room messages, which are all QoS 0 or none of them.
// It reports whether they are QoS 0 and worth a flow.Run.
func (run *stageRun) take(room int) (part stageRun, worthRun bool) {
	qos0, n := run.messages[0].QoS == frames.AtMostOnce, 1
	for n < min(room, len(run.messages)) && (run.messages[n].QoS == frames.AtMostOnce) == qos0 {
		n++
	}
	part = stageRun{run.stage, run.place, run.messages[:n]}
	run.messages, run.place = run.messages[n:], run.place+uint64(n)
	return part, qos0 && n >= flow.MinRun
}

// acceptBatch is how many publishings are received before a turn.
const acceptBatch = 256

// A yield that took longer than slowYield found no processor free. Then none is tried for
// yieldPause times as long.
const (
	slowYield  = 5 * time.Millisecond // half a time slice
	yieldPause = 20
)

// another receives the publishing that a publisher has for us now. An empty channel is looked at
// again after a yield, because the publisher whose send has just returned is about to send its
// next: without that, each message of a publisher by itself costs a turn and a write call, which
// takes five times as long. The scheduler now and then resumes the yielding goroutine first, so
// there are two yields.
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
