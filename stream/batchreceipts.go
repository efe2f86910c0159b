package stream

import (
	"cmp"
	"iter"
	"slices"

	"github.com/go-millrace/mqtt/frames"
)

// Receipts are the Receipts of a batch of PublishBatches, one for each message, in the order of the
// messages. The Receipts refer to the slice of the batch, so change the slice only when you have
// finished with them.
//
// Invariant: the results are in order of their places, which count from the start of the batch, and
// each message has one. Most batches have few results, so a Receipt is made when it is asked for:
// a slice of Receipts took a third of the time of PublishBatches at QoS 0.
type Receipts struct {
	messages []frames.Message
	results  []results
}

// Len returns the number of messages of the batch.
func (r Receipts) Len() int { return len(r.messages) }

// Err returns nil if every Receipt is without an error, and otherwise the first error.
func (r Receipts) Err() error {
	for i := range r.results {
		if err := r.results[i].err; err != nil {
			return err
		}
	}
	return nil
}

// At returns the Receipt of message i, which is in the range from 0 to Len()-1.
func (r Receipts) At(i int) Receipt {
	of, found := slices.BinarySearchFunc(r.results, uint64(i), func(x results, place uint64) int {
		return cmp.Compare(x.place, place)
	})
	if !found {
		of--
	}
	return r.results[of].receipt(uint64(i), &r.messages[i])
}

// All returns an iterator over the Receipts and the indexes of their messages in the batch.
func (r Receipts) All() iter.Seq2[int, Receipt] {
	return func(yield func(int, Receipt) bool) {
		for i := range r.results {
			for place, end := r.results[i].place, r.results[i].place+r.results[i].n; place < end; place++ {
				if !yield(int(place), r.results[i].receipt(place, &r.messages[place])) {
					return
				}
			}
		}
	}
}

// receipt returns the Receipt of the message m, whose place is among those of the results.
func (r *results) receipt(place uint64, m *frames.Message) Receipt {
	receipt := Receipt{Message: *m, Code: r.code, Err: r.err}
	if r.id != 0 {
		receipt.ID = r.id + uint16(place-r.place)
	}
	return receipt
}

// record adds results, which may have come out of order.
func (r *Receipts) record(x results) {
	last := len(r.results) - 1
	if last >= 0 && r.results[last].add(x) {
		return
	}
	r.results = append(r.results, x)
	for i := last; i >= 0 && r.results[i].place > x.place; i-- {
		r.results[i], r.results[i+1] = r.results[i+1], r.results[i]
	}
}
