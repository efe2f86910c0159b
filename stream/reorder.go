package stream

import "github.com/go-millrace/mqtt/frames"

// A reorderBuffer keeps the messages of a publishStage, each until it has its result and all
// earlier ones have theirs.
//
// Places are in a ring: from head to next they are in use, from passed to next they are to be
// passed on, as a run that is contiguous in memory. Where the next place would not continue it,
// because the ring begins anew or a message was refused, the buffer is closed until the run is
// passed on.
type reorderBuffer struct {
	messages   []frames.Message // a power of two long
	outcomes   []outcome        // beside them
	exceptions map[uint64]exception

	head, passed, next uint64
	refused            bool // the place before next was, behind a run
	closed             bool
}

// An outcome is the result of a place that has one. Nearly all are without an error, so errors are
// not in it.
type outcome struct {
	id   uint16
	full bool
	odd  bool // the rest is in exceptions
}

// An exception is the rare part of an outcome.
type exception struct {
	tag any
	err error
}

// results are the outcome of n messages of a stage from a place on. All have the same error, and
// packet identifiers that rise from id, if they have any. The stage has the messages itself:
// passing whole Receipts back took a tenth of the time of a publish.
type results struct {
	place uint64
	n     uint64
	id    uint16 // of the first; 0 if they have none
	err   error
}

// add extends r by next, if next continues it.
func (r *results) add(next results) bool {
	if next.err != nil || r.err != nil || next.place != r.place+r.n {
		return false
	}
	if (next.id != 0 || r.id != 0) && (r.id == 0 || int(next.id) != int(r.id)+int(r.n)) {
		return false
	}
	r.n += next.n
	return true
}

// takes reports whether another place may be reserved, with up to limit in use.
func (b *reorderBuffer) takes(limit int) bool {
	return !b.closed && b.next-b.passed < stageBatch && b.open() < limit
}

// reserve returns the next place, to be filled with a message.
func (b *reorderBuffer) reserve() *frames.Message {
	if b.open() == len(b.messages) {
		b.grow()
	}
	m := &b.messages[b.at(b.next)]
	b.next++
	b.closed = b.at(b.next) == 0
	return m
}

// grow makes room. Runs that were passed on stay in the old memory, where nobody writes.
func (b *reorderBuffer) grow() {
	old := *b
	n := max(64, 2*len(old.messages))
	b.messages, b.outcomes = make([]frames.Message, n), make([]outcome, n)
	for p := b.head; p != b.next; p++ {
		b.messages[b.at(p)], b.outcomes[b.at(p)] = old.messages[old.at(p)], old.outcomes[old.at(p)]
	}
}

func (b *reorderBuffer) at(place uint64) int { return int(place & uint64(len(b.messages)-1)) }

// refuse ends the place reserved last, which is not passed on.
func (b *reorderBuffer) refuse(tag any, err error) {
	place := b.next - 1
	b.outcomes[b.at(place)].full = true
	b.except(place, exception{tag, err})
	if b.passed == place {
		b.passOn()
	} else {
		b.refused, b.closed = true, true
	}
}

func (b *reorderBuffer) except(place uint64, e exception) {
	if b.exceptions == nil {
		b.exceptions = make(map[uint64]exception)
	}
	b.outcomes[b.at(place)].odd = true
	b.exceptions[place] = e
}

// run returns the messages to be passed on.
func (b *reorderBuffer) run() []frames.Message {
	n := int(b.next - b.passed)
	if n == 0 {
		return nil
	}
	if b.refused {
		n--
	}
	from := b.at(b.passed)
	return b.messages[from : from+n]
}

// passOn records that the run was passed on.
func (b *reorderBuffer) passOn() { b.passed, b.refused, b.closed = b.next, false, false }

// put records the results of places.
func (b *reorderBuffer) put(r results) {
	for i := range r.n {
		out := &b.outcomes[b.at(r.place+i)]
		out.full = true
		if r.id != 0 {
			out.id = r.id + uint16(i)
		}
		if r.err != nil {
			b.except(r.place+i, exception{err: r.err})
		}
	}
}

// open returns how many places are reserved and not popped.
func (b *reorderBuffer) open() int { return int(b.next - b.head) }

// first makes the Receipt that is next in order, if it has its result.
func (b *reorderBuffer) first(r *Receipt) bool {
	if b.head == b.next {
		return false
	}
	at := b.at(b.head)
	out := &b.outcomes[at]
	if !out.full {
		return false
	}
	*r = Receipt{Message: b.messages[at], ID: out.id}
	if out.odd {
		e := b.exceptions[b.head]
		r.Tag, r.Err = e.tag, e.err
	}
	return true
}

// pop forgets the place that is next in order.
func (b *reorderBuffer) pop() {
	at := b.at(b.head)
	if b.outcomes[at].odd {
		delete(b.exceptions, b.head)
		if len(b.exceptions) == 0 {
			b.exceptions = nil // a map keeps the room that it once needed
		}
	}
	b.messages[at], b.outcomes[at] = frames.Message{}, outcome{}
	b.head++
}
