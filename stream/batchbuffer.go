package stream

import "github.com/go-millrace/mqtt/frames"

// A batchBuffer is the stageBuffer of PublishBatches. It leaves the messages in the slices of the
// user, so that nothing is copied.
//
// Invariant: the places of the messages are consecutive over all batches, and batches has those
// whose Receipts were not sent, in order.
type batchBuffer struct {
	validator
	batches []messageBatch
	runs    []placedRun // of valid messages, to be passed to the loop
	next    uint64      // the place of the next message
	waiting int         // messages of batches
}

type messageBatch struct {
	Receipts
	place uint64 // of the first message
	left  int    // messages without a result
}

// A placedRun is a sequence of messages with the place of the first.
type placedRun struct {
	place    uint64
	messages []frames.Message
}

// maxBatches is the maximum number of batches without Receipts, since a batch may be empty.
const maxBatches = 1024

func (b *batchBuffer) takes(limit int) bool { return b.waiting < limit && len(b.batches) < maxBatches }

func (b *batchBuffer) empty() bool { return len(b.batches) == 0 }

func (b *batchBuffer) open() int { return b.waiting }

func (b *batchBuffer) take(messages []frames.Message, in <-chan []frames.Message, limit int) (n int, open bool) {
	before := b.waiting
	b.add(messages)
	for b.takes(limit) {
		select {
		case messages, open = <-in:
			if !open {
				return b.waiting - before, false
			}
			b.add(messages)
			continue
		default:
		}
		break
	}
	return b.waiting - before, true
}

// add adds a batch. An invalid message has its Receipt at once.
func (b *batchBuffer) add(messages []frames.Message) {
	batch := messageBatch{Receipts{messages: messages}, b.next, len(messages)}
	from := 0
	for i := range messages {
		if err := b.validate(&messages[i]); err != nil {
			batch.record(results{place: uint64(i), n: 1, err: notSent(err)})
			batch.left--
			b.addRun(b.next+uint64(from), messages[from:i])
			from = i + 1
		}
	}
	b.addRun(b.next+uint64(from), messages[from:])
	b.batches = append(b.batches, batch)
	b.next += uint64(len(messages))
	b.waiting += len(messages)
}

func (b *batchBuffer) addRun(place uint64, messages []frames.Message) {
	if len(messages) > 0 {
		b.runs = append(b.runs, placedRun{place, messages})
	}
}

func (b *batchBuffer) run() (place uint64, messages []frames.Message) {
	if len(b.runs) == 0 {
		return b.next, nil
	}
	return b.runs[0].place, b.runs[0].messages
}

func (b *batchBuffer) passOn() { b.runs = removeFirst(b.runs) }

// put records results, which may belong to several batches.
func (b *batchBuffer) put(r results) {
	for i := b.batchOf(r.place); r.n > 0; i++ {
		at := &b.batches[i]
		from := r.place - at.place
		n := min(r.n, uint64(len(at.messages))-from)
		if n > 0 { // a batch may be empty
			at.record(results{place: from, n: n, id: r.id, code: r.code, err: r.err})
		}
		at.left -= int(n)
		r.place, r.n = r.place+n, r.n-n
		if r.id != 0 {
			r.id += uint16(n)
		}
	}
}

// batchOf returns the index of the batch that has a place.
func (b *batchBuffer) batchOf(place uint64) int {
	i, end := 0, len(b.batches)
	for end-i > 1 { // the place is in a batch from i to end-1
		if middle := (i + end) / 2; b.batches[middle].place <= place {
			i = middle
		} else {
			end = middle
		}
	}
	return i
}

func (b *batchBuffer) first(receipts *Receipts) bool {
	if len(b.batches) == 0 || b.batches[0].left > 0 {
		return false
	}
	*receipts = b.batches[0].Receipts
	return true
}

func (b *batchBuffer) pop() (receipts int) {
	receipts = b.batches[0].Len()
	b.batches = removeFirst(b.batches)
	b.waiting -= receipts
	return receipts
}

// removeFirst removes the first element of a queue. An empty queue begins at the start of its
// memory again.
func removeFirst[T any](queue []T) []T {
	var none T
	queue[0] = none // frees its memory
	if len(queue) == 1 {
		return queue[:0]
	}
	return queue[1:]
}
