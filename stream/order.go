package stream

// order is a ring of Receipts that wait for those of earlier places.
type order struct {
	ring       []slot // a power of two long
	head, next uint64
}

type slot struct {
	receipt Receipt
	full    bool
}

// reserve returns the next place.
func (o *order) reserve() uint64 {
	if o.open() == len(o.ring) {
		old := *o
		o.ring = make([]slot, max(64, 2*len(old.ring)))
		for p := o.head; p != o.next; p++ {
			*o.at(p) = *old.at(p)
		}
	}
	o.next++
	return o.next - 1
}

func (o *order) at(place uint64) *slot { return &o.ring[place&uint64(len(o.ring)-1)] }

func (o *order) put(p placed) { *o.at(p.place) = slot{p.receipt, true} }

// open returns how many places are reserved and not popped.
func (o *order) open() int { return int(o.next - o.head) }

func (o *order) first() (Receipt, bool) {
	if o.head == o.next {
		return Receipt{}, false
	}
	s := o.at(o.head)
	return s.receipt, s.full
}

func (o *order) pop() {
	*o.at(o.head) = slot{}
	o.head++
}
