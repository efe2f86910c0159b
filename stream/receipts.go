package stream

import (
	"log/slog"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// owner says where the Receipt of a publication goes. A withdrawn publication has the zero owner,
// and its Receipt is dropped.
type owner struct {
	tag   any            // the Tag of the Receipt; a *stage, *publishCall or receiptTag gets the result in place of ack
	ack   chan<- Receipt // nil drops the Receipt
	shift uint64         // of a stage: the place of a message less its sequence number; without a stage 1
}

func (o *owner) withdrawn() bool {
	return o.shift == 0 && o.tag == nil && o.ack == nil
}

// A receiptTag gets the Receipt of its publication, on the loop. It must not wait.
type receiptTag interface {
	published(Receipt, *slog.Logger)
}

// receipts passes the result of each publication to its owner.
//
// Invariant: each publication gets one Receipt, and each channel gets its Receipts in the order in
// which the publications ended. No channel delays another, since a full channel gets a queue and a
// goroutine of its own.
type receipts struct {
	counts   *receiptCounts
	calls    *publishCalls
	life     *life
	log      *slog.Logger
	lagging  map[chan<- Receipt]*ackQueue
	failed   uint64   // publications that ended with an error and have no Ack channel
	stages   []*stage // that have results in this turn
	replies  *replies // of requests; nil before the first request
	outcomes outcomes
}

// complete passes the result of a run to its owner. A stage makes its Receipts itself.
func (r *receipts) complete(e *flow.Ended[owner], err error) {
	r.outcomes.ended(e, err)
	switch to := e.Owner.tag.(type) {
	case *stage:
		r.stageResult(to, results{e.Seq + e.Owner.shift, uint64(e.Len()), e.ID, e.Code, err})
	case *publishCall:
		r.calls.answer(to, Receipt{Message: e.Message, ID: e.ID, Code: e.Code, Err: err})
	default:
		r.send(e.Owner, Receipt{Message: e.Message, ID: e.ID, Code: e.Code, Err: err})
	}
}

// refuse passes on the result of a run that is not accepted. Its sequence numbers begin at 0.
func (r *receipts) refuse(run []frames.Message, o owner, cause error) {
	r.complete(&flow.Ended[owner]{Message: run[0], Rest: run[1:], Owner: o, At: r.outcomes.clock.now}, notSent(cause))
}

// misfit passes on the result of a publication that the connection cannot carry.
func (r *receipts) misfit(e flow.Ended[owner], err error) {
	fate := notSent(err)
	if e.Sent {
		fate = unconfirmed(err)
	}
	r.complete(&e, fate)
}

// send passes a Receipt to the channel of its owner, and never waits.
func (r *receipts) send(o owner, receipt Receipt) {
	if t, ok := o.tag.(receiptTag); ok {
		t.published(receipt, r.log)
		return
	}
	receipt.Tag = o.tag
	ack := o.ack
	if ack == nil {
		r.unreported(receipt)
		return
	}
	if len(r.lagging) > 0 {
		if q := r.lagging[ack]; q != nil {
			if q.push(receipt) {
				return
			}
			delete(r.lagging, ack)
		}
	}
	select {
	case ack <- receipt:
	default:
		r.queue(ack, receipt)
	}
}

// unreported counts a failed publication that nobody is told of. It is logged when their number is
// a power of two, since a full queue may fail at once.
func (r *receipts) unreported(receipt Receipt) {
	if receipt.Err == nil {
		return
	}
	r.failed++
	if r.failed&(r.failed-1) == 0 {
		r.log.Warn("a publication failed and nobody is told, since neither Publishing.Ack nor Options.Ack is set",
			"topic", receipt.Topic, "QoS", int(receipt.QoS), "error", receipt.Err, "count", r.failed)
	}
}

// abandoned counts the Receipts of a stage that nobody has received since its context ended.
func (r *receipts) abandoned(n int) {
	r.failed += uint64(n)
	r.log.Warn("nobody receives the Receipts of a PublishFrom or PublishBatches whose context has ended; they are dropped", "receipts", n)
}

// queue makes an ackQueue for a full channel, with its first Receipt, and starts the goroutine.
func (r *receipts) queue(ack chan<- Receipt, receipt Receipt) {
	if r.lagging == nil { // the first time
		r.lagging = make(map[chan<- Receipt]*ackQueue)
		r.log.Warn("an Ack channel is full and its Receipts wait: give it room for all publications that await their Receipt", "cap", cap(ack))
	}
	q := &ackQueue{ack: ack, counts: r.counts, queue: []Receipt{receipt}}
	r.lagging[ack] = q
	r.counts.senders.Add(1)
	r.counts.waiting.Add(1)
	r.life.start(receiptSender, func() {
		defer r.life.wake()
		defer r.counts.senders.Add(-1)
		q.run()
	})
}

// sweep forgets the queues of channels that have caught up.
func (r *receipts) sweep() {
	for ack, q := range r.lagging {
		if q.hasEnded() {
			delete(r.lagging, ack)
		}
	}
}

// stageResult stores the results for a stage until wakeStages passes them on.
func (r *receipts) stageResult(st *stage, res results) {
	if len(st.turn) == 0 {
		r.stages = append(r.stages, st)
	}
	st.add(res)
}

// wakeStages passes the results of this turn to their stages, with one lock and at most one wake-up
// for each stage.
func (r *receipts) wakeStages() {
	for i, st := range r.stages {
		st.passTurn()
		r.stages[i] = nil
	}
	r.stages = r.stages[:0]
}

// handOver waits until all senders have ended, or until no channel has accepted a Receipt for
// receiptGrace. It returns the number of Receipts left.
func (r *receipts) handOver() (left int) {
	c := r.counts
	grace := time.NewTimer(receiptGrace)
	defer grace.Stop()
	for last := c.taken.Load(); c.senders.Load() > 0; {
		select {
		case <-r.life.wakeups: // a sender may have ended
		case <-grace.C:
			now := c.taken.Load()
			if now == last {
				c.abandon.set(true)
				return int(c.waiting.Load())
			}
			last = now
			grace.Reset(receiptGrace)
		}
	}
	return 0
}
