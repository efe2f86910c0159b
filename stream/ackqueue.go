package stream

import (
	"sync"
	"sync/atomic"
	"time"
)

// An ackQueue sends Receipts to one Ack channel that was full, in order, on a goroutine of its own,
// so that a blocked reader does not delay the Receipts of other channels. The goroutine ends when
// the queue is empty.
type ackQueue struct {
	ack    chan<- Receipt
	counts *receiptCounts

	mu    sync.Mutex
	queue []Receipt
	ended bool // the queue was found empty, so the goroutine ends
}

// receiptCounts count the goroutines that send Receipts to channels of the user, and the Receipts
// that these goroutines hold.
type receiptCounts struct {
	senders atomic.Int64 // the goroutines
	waiting atomic.Int64 // Receipts that were not yet sent
	taken   atomic.Int64 // Receipts that were sent
	abandon gate         // opens when the senders must give up at the end of the session
	behind  gate         // open while the session is behind: stages then take more than their limit
}

func newReceiptCounts() *receiptCounts { return new(receiptCounts) }

func (c *receiptCounts) took(n int) {
	c.waiting.Add(int64(-n))
	c.taken.Add(int64(n))
}

// push appends r. It returns false when the goroutine has ended.
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

// take returns all Receipts in the queue and empties it. If there are none, the goroutine must end.
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
	abandon := q.counts.abandon.wait()
	if abandon == nil {
		return
	}
	for batch := q.take(); len(batch) > 0; batch = q.take() {
		for _, r := range batch {
			select {
			case q.ack <- r:
				q.counts.took(1)
			case <-abandon:
				return
			}
		}
	}
}

// receiptGrace is how long Close waits for a channel to accept a Receipt.
const receiptGrace = time.Second
