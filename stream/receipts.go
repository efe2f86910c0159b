package stream

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// ended tells the owner of a publication, or of a part of a row, how it ended. A
// stage needs no Receipt made for it.
func (l *loop) ended(e *flow.Ended[owner], err error) {
	if e.Owner.stage != nil {
		r := results{e.Owner.place, 1, e.ID, err}
		if e.Row != nil {
			r.place += uint64(e.Row.From)
			r.n = uint64(e.Row.Len())
		}
		l.stageResult(e.Owner.stage, r)
		return
	}
	l.receipt(e.Owner, Receipt{Message: e.Message, ID: e.ID, Err: err})
}

// receipt sends the end of a publication to the channel of its owner. It never
// waits: a channel that is full gets a queue and a goroutine of its own, so
// that one dead reader holds up nobody else's Receipts.
func (l *loop) receipt(o owner, r Receipt) {
	r.Tag = o.tag
	ack := o.ack
	if ack == nil {
		return
	}
	if len(l.lagging) > 0 {
		if q := l.lagging[ack]; q != nil {
			if q.push(r) {
				return
			}
			delete(l.lagging, ack)
		}
	}
	select {
	case ack <- r:
	default:
		l.lag(ack, r)
	}
}

// A laggard hands Receipts to one Ack channel, in order, for as long as that
// channel lags.
type laggard struct {
	ack    chan<- Receipt
	takers *takers

	mu    sync.Mutex
	queue []Receipt
	ended bool // the queue is empty and the goroutine is leaving
}

func (l *loop) lag(ack chan<- Receipt, r Receipt) {
	if !l.warnedLag {
		l.warnedLag = true
		l.log.Warn("an Ack channel is full and its Receipts wait: buffer it for what its owner keeps outstanding", "cap", cap(ack))
	}
	if l.lagging == nil {
		l.lagging = make(map[chan<- Receipt]*laggard)
	}
	q := &laggard{ack: ack, takers: &l.s.takers, queue: []Receipt{r}}
	l.lagging[ack] = q
	l.s.takers.running.Add(1)
	l.s.takers.waiting.Add(1)
	l.s.group.Go(func() {
		defer l.s.poke()
		defer l.s.takers.running.Add(-1)
		q.run()
	})
}

// push appends r; false when the goroutine has left.
func (q *laggard) push(r Receipt) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return false
	}
	q.queue = append(q.queue, r)
	q.takers.waiting.Add(1)
	return true
}

// take empties the queue; with nothing in it the goroutine must leave.
func (q *laggard) take() []Receipt {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.queue
	q.queue, q.ended = nil, len(batch) == 0
	return batch
}

func (q *laggard) run() {
	for batch := q.take(); len(batch) > 0; batch = q.take() {
		for _, r := range batch {
			select {
			case q.ack <- r:
				q.takers.took(1)
			case <-q.takers.abandon:
				return
			}
		}
	}
}

// sweep forgets the laggards that have caught up.
func (l *loop) sweep() {
	for ack, q := range l.lagging {
		q.mu.Lock()
		ended := q.ended
		q.mu.Unlock()
		if ended {
			delete(l.lagging, ack)
		}
	}
}

// takers counts the goroutines that hand Receipts to channels of the user, and
// what they hold.
type takers struct {
	running atomic.Int64
	waiting atomic.Int64  // Receipts that their channels have not taken yet
	taken   atomic.Int64  // Receipts that they took
	abandon chan struct{} // closed by the loop, when the session ends and nobody takes
}

func (t *takers) took(n int) {
	t.waiting.Add(int64(-n))
	t.taken.Add(int64(n))
}

// receiptGrace is how long Close goes on offering Receipts to channels that
// take none.
const receiptGrace = time.Second

// handOver gives every taker the time it needs, as long as one of them makes
// progress, and returns how many Receipts were left.
func (l *loop) handOver() (left int) {
	t := &l.s.takers
	grace := time.NewTimer(receiptGrace)
	defer grace.Stop()
	for last := t.taken.Load(); t.running.Load() > 0; {
		select {
		case <-l.s.pokes: // perhaps one has left
		case <-grace.C:
			now := t.taken.Load()
			if now == last {
				close(t.abandon)
				return int(t.waiting.Load())
			}
			last = now
			grace.Reset(receiptGrace)
		}
	}
	return 0
}
