package stream

import (
	"sync"
	"sync/atomic"
)

// An ackQueue hands Receipts to one Ack channel that lags, in order, on a goroutine of its own, so
// that one dead reader delays nobody else's Receipts. The goroutine ends when the channel has
// caught up.
type ackQueue struct {
	ack    chan<- Receipt
	counts *receiptCounts

	mu    sync.Mutex
	queue []Receipt
	ended bool // the queue is empty and the goroutine ends
}

// receiptCounts count the goroutines that hand Receipts to channels of the user, and the Receipts
// that they hold.
type receiptCounts struct {
	senders atomic.Int64
	waiting atomic.Int64  // Receipts that their channels have not taken yet
	taken   atomic.Int64  // Receipts that they took
	abandon chan struct{} // closed by the loop, when the session ends and no channel takes any
}

func newReceiptCounts() *receiptCounts { return &receiptCounts{abandon: make(chan struct{})} }

func (c *receiptCounts) took(n int) {
	c.waiting.Add(int64(-n))
	c.taken.Add(int64(n))
}

// push appends r; false when the goroutine has ended.
func (q *ackQueue) push(r Receipt) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return false
	}
	q.queue = append(q.queue, r)
	q.counts.waiting.Add(1)
	return true
}

// take empties the queue. If it is empty the goroutine must end.
func (q *ackQueue) take() []Receipt {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.queue
	q.queue, q.ended = nil, len(batch) == 0
	return batch
}

func (q *ackQueue) hasEnded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ended
}

func (q *ackQueue) run() {
	for batch := q.take(); len(batch) > 0; batch = q.take() {
		for _, r := range batch {
			select {
			case q.ack <- r:
				q.counts.took(1)
			case <-q.counts.abandon:
				return
			}
		}
	}
}
