package stream

import "github.com/go-millrace/mqtt/frames"

// order keeps the messages of a stage in order, each until it has its result and
// those before it have theirs.
//
// Places are in a ring: from head to next they are in use, from handed to next they
// wait to be passed on, as a row that lies in one piece. Where the next place would
// not continue it, because the ring begins anew or a message was refused, the order
// is closed until the row is passed on.
type order struct {
	messages []frames.Message // a power of two long
	outcomes []outcome        // beside them
	oddities map[uint64]oddity

	head, handed, next uint64
	refused            bool // the place before next was, behind a row
	closed             bool
}

// outcome is the result of a place that has one. Nearly all are without an error, so
// errors are not in it.
type outcome struct {
	id   uint16
	full bool
	odd  bool // the rest is in oddities
}

type oddity struct {
	tag any
	err error
}

// takes reports whether another place may be reserved, with up to limit in use.
func (o *order) takes(limit int) bool {
	return !o.closed && o.next-o.handed < stageBatch && o.open() < limit
}

// reserve gives out the next place, to be filled with a message.
func (o *order) reserve() *frames.Message {
	if o.open() == len(o.messages) {
		o.grow()
	}
	m := &o.messages[o.at(o.next)]
	o.next++
	o.closed = o.at(o.next) == 0
	return m
}

// grow makes room. Rows that were passed on stay where they are, and nobody writes
// there.
func (o *order) grow() {
	old := *o
	n := max(64, 2*len(old.messages))
	o.messages, o.outcomes = make([]frames.Message, n), make([]outcome, n)
	for p := o.head; p != o.next; p++ {
		o.messages[o.at(p)], o.outcomes[o.at(p)] = old.messages[old.at(p)], old.outcomes[old.at(p)]
	}
}

func (o *order) at(place uint64) int { return int(place & uint64(len(o.messages)-1)) }

// refuse ends the place reserved last, which is not passed on.
func (o *order) refuse(tag any, err error) {
	place := o.next - 1
	o.outcomes[o.at(place)].full = true
	o.odd(place, oddity{tag, err})
	if o.handed == place {
		o.hand()
	} else {
		o.refused, o.closed = true, true
	}
}

func (o *order) odd(place uint64, is oddity) {
	if o.oddities == nil {
		o.oddities = make(map[uint64]oddity)
	}
	o.outcomes[o.at(place)].odd = true
	o.oddities[place] = is
}

// row is what is to be passed on.
func (o *order) row() []frames.Message {
	n := int(o.next - o.handed)
	if n == 0 {
		return nil
	}
	if o.refused {
		n--
	}
	from := o.at(o.handed)
	return o.messages[from : from+n]
}

// hand takes note that the row was passed on.
func (o *order) hand() { o.handed, o.refused, o.closed = o.next, false, false }

// put takes the results of places in a row.
func (o *order) put(r results) {
	for i := range r.n {
		out := &o.outcomes[o.at(r.place+i)]
		out.full = true
		if r.id != 0 {
			out.id = r.id + uint16(i)
		}
		if r.err != nil {
			o.odd(r.place+i, oddity{err: r.err})
		}
	}
}

// open returns how many places are reserved and not popped.
func (o *order) open() int { return int(o.next - o.head) }

// first makes the Receipt that is next, if it has its result.
func (o *order) first(r *Receipt) bool {
	if o.head == o.next {
		return false
	}
	at := o.at(o.head)
	out := &o.outcomes[at]
	if !out.full {
		return false
	}
	*r = Receipt{Message: o.messages[at], ID: out.id}
	if out.odd {
		odd := o.oddities[o.head]
		r.Tag, r.Err = odd.tag, odd.err
	}
	return true
}

func (o *order) pop() {
	at := o.at(o.head)
	if o.outcomes[at].odd {
		delete(o.oddities, o.head)
		if len(o.oddities) == 0 {
			o.oddities = nil // a map keeps the room that it once needed
		}
	}
	o.messages[at], o.outcomes[at] = frames.Message{}, outcome{}
	o.head++
}
