package stream

import "github.com/go-millrace/mqtt/frames"

// A reorderBuffer keeps each message of a PublishFrom until that message and all earlier messages
// have their results.
//
// A message has a place in a ring. The places from head to next are in use. The places from passed
// to next form the run that is passed to the loop next, and are contiguous in memory. When the next
// place cannot continue that run, because the ring starts over or a message was refused, the buffer
// is closed until the run is passed on.
type reorderBuffer struct {
	messages   []frames.Message // its length is a power of two
	outcomes   []outcome        // of the messages, at the same index
	exceptions map[uint64]exception

	head, passed, next uint64
	refused            bool // the message at next-1 was refused, and the messages before it form a run
	closed             bool
}

// stageBatch is how many messages go to the loop at once, and how many Receipts may wait for their
// reader. Each batch costs a turn of the loop and two switches between goroutines. Batches of 256
// are a seventh slower, and larger batches are no faster.
const stageBatch = 1024

// An outcome is the result at one place. Errors are rare, so they are kept in exceptions.
type outcome struct {
	id   uint16
	code frames.ReasonCode
	full bool // the result is there
	odd  bool // exceptions has the rest of the result
}

// An exception has the fields of a Receipt that few outcomes need.
type exception struct {
	tag any
	err error
}

// results are the outcomes of n consecutive messages of a stage, beginning at place. All n messages
// have the same error. Their packet identifiers, if any, are consecutive, beginning at id. The
// messages are not included, since the stage has them: passing whole Receipts back took a tenth of
// the time of a publish.
type results struct {
	place uint64
	n     uint64
	id    uint16 // of the first message; 0 if the messages have no identifiers
	code  frames.ReasonCode
	err   error
}

// add extends r by next and returns true, if next continues r.
func (r *results) add(next results) bool {
	if next.err != nil || r.err != nil || next.code != r.code || next.place != r.place+r.n {
		return false
	}
	if (next.id != 0 || r.id != 0) && (r.id == 0 || int(next.id) != int(r.id)+int(r.n)) {
		return false
	}
	r.n += next.n
	return true
}

// takes reports whether another place may be reserved while at most limit places are in use.
func (b *reorderBuffer) takes(limit int) bool {
	return !b.closed && b.next-b.passed < stageBatch && b.open() < limit
}

// reserve takes the next place and returns its message, which the caller fills in.
func (b *reorderBuffer) reserve() *frames.Message {
	if b.open() == len(b.messages) {
		b.grow()
	}
	m := &b.messages[b.at(b.next)]
	b.next++
	b.closed = b.at(b.next) == 0
	return m
}

// grow doubles the ring. The loop still reads runs in the old memory, which is not written to
// again.
func (b *reorderBuffer) grow() {
	old := *b
	n := max(64, 2*len(old.messages))
	b.messages, b.outcomes = make([]frames.Message, n), make([]outcome, n)
	for p := b.head; p != b.next; p++ {
		b.messages[b.at(p)], b.outcomes[b.at(p)] = old.messages[old.at(p)], old.outcomes[old.at(p)]
	}
}

func (b *reorderBuffer) at(place uint64) int { return int(place & uint64(len(b.messages)-1)) }

// refuse records err for the place reserved last. Its message is not passed to the loop.
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

// run returns the messages that are to be passed to the loop, and the place of the first.
func (b *reorderBuffer) run() (place uint64, messages []frames.Message) {
	n := int(b.next - b.passed)
	if n == 0 {
		return b.passed, nil
	}
	if b.refused {
		n--
	}
	from := b.at(b.passed)
	return b.passed, b.messages[from : from+n]
}

// passOn records that the run was passed to the loop.
func (b *reorderBuffer) passOn() { b.passed, b.refused, b.closed = b.next, false, false }

// put records the results of r.n places.
func (b *reorderBuffer) put(r results) {
	for i := range r.n {
		out := &b.outcomes[b.at(r.place+i)]
		out.full, out.code = true, r.code
		if r.id != 0 {
			out.id = r.id + uint16(i)
		}
		if r.err != nil {
			b.except(r.place+i, exception{err: r.err})
		}
	}
}

// open counts the places in use.
func (b *reorderBuffer) open() int { return int(b.next - b.head) }

func (b *reorderBuffer) empty() bool { return b.next == b.head }

// first fills in r, the Receipt that is next in order. It returns false if the result is not there
// yet.
func (b *reorderBuffer) first(r *Receipt) bool {
	if b.head == b.next {
		return false
	}
	at := b.at(b.head)
	out := &b.outcomes[at]
	if !out.full {
		return false
	}
	*r = Receipt{Message: b.messages[at], ID: out.id, Code: out.code}
	if out.odd {
		e := b.exceptions[b.head]
		r.Tag, r.Err = e.tag, e.err
	}
	return true
}

// pop removes the first message and frees its place. It returns 1, the number of messages.
func (b *reorderBuffer) pop() int {
	at := b.at(b.head)
	if b.outcomes[at].odd {
		delete(b.exceptions, b.head)
		if len(b.exceptions) == 0 {
			b.exceptions = nil // an emptied map would keep its memory
		}
	}
	b.messages[at], b.outcomes[at] = frames.Message{}, outcome{}
	b.head++
	return 1
}
