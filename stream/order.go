package stream

import "github.com/go-millrace/mqtt/frames"

// order is a ring of Receipts that wait for their result or for those of earlier
// places.
type order struct {
	ring       []slot // a power of two long
	head, next uint64
}

type slot struct {
	receipt Receipt
	full    bool
}

// reserve gives m the next place.
func (o *order) reserve(m frames.Message) uint64 {
	if o.open() == len(o.ring) {
		old := *o
		o.ring = make([]slot, max(64, 2*len(old.ring)))
		for p := o.head; p != o.next; p++ {
			*o.at(p) = *old.at(p)
		}
	}
	o.at(o.next).receipt.Message = m
	o.next++
	return o.next - 1
}

func (o *order) at(place uint64) *slot { return &o.ring[place&uint64(len(o.ring)-1)] }

// put takes the results of places in a row.
func (o *order) put(r results) {
	for i := range r.n {
		s := o.at(r.place + i)
		s.receipt.Err, s.full = r.err, true
		if r.id != 0 {
			s.receipt.ID = r.id + uint16(i)
		}
	}
}

// open returns how many places are reserved and not popped.
func (o *order) open() int { return int(o.next - o.head) }

// first returns the Receipt that is next, if it has its result.
func (o *order) first() *Receipt {
	if o.head == o.next {
		return nil
	}
	if s := o.at(o.head); s.full {
		return &s.receipt
	}
	return nil
}

func (o *order) pop() {
	*o.at(o.head) = slot{}
	o.head++
}
