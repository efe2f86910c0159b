package logstore

import (
	"fmt"

	"github.com/go-millrace/mqtt/flow"
)

// index is the content of a store, except for the messages, of which it has the places.
//
// Invariant: segments are consecutive; the last one is the head, to which commits are appended. The
// field live of a segment is the number of entries that lie in it.
type index struct {
	owner    string
	session  *flow.SessionRecord
	received map[uint16]struct{}

	entries map[uint64]entry // by Seq
	tally   tally            // of entries
	bytes   int64            // the size of all records in entries
	peak    int              // the largest size of entries since it was made

	segments []*segment
}

// entry is the place and the progress of a publication.
type entry struct {
	segment uint64
	offset  int64 // of the record
	size    int
	flight
}

// segment is a file of the store.
type segment struct {
	number uint64
	end    int64 // the end of its last frame
	live   int   // the number of entries in it
	rows   []row // the records in it, in their order; an entry may have gone or moved
}

// row is the place of a record in its segment.
type row struct {
	seq    uint64
	offset int64
}

func newIndex() *index {
	return &index{received: make(map[uint16]struct{}), entries: make(map[uint64]entry)}
}

func (x *index) head() *segment { return x.segments[len(x.segments)-1] }

// segment returns the segment with a number, or nil.
func (x *index) segment(number uint64) *segment {
	if len(x.segments) == 0 || number < x.segments[0].number || number > x.head().number {
		return nil
	}
	return x.segments[number-x.segments[0].number]
}

// apply applies the operations in the body of a frame. The body begins at offset in the segment.
// If check is set, it parses all properties.
func (x *index) apply(s *segment, offset int64, body []byte, check bool) error {
	for at := 0; at < len(body); {
		o, n, err := parseOp(body[at:])
		if err != nil {
			return err
		}
		switch o.kind {
		case opPublication:
			if check {
				if _, err := o.record.properties(); err != nil {
					return fmt.Errorf("publication %d: %w", o.seq, err)
				}
			}
			x.put(o.seq, entry{s.number, offset + int64(at) + 1, n - 1, o.flight})
			s.rows = append(s.rows, row{o.seq, offset + int64(at) + 1})
		case opProgress:
			if e, ok := x.entries[o.seq]; ok {
				e.flight = o.flight
				x.entries[o.seq] = e
			}
		case opCompleted:
			x.remove(o.seq)
		case opSealed: // otherwise the reader stops before it
			return errSealed
		default:
			x.applySmall(&o)
		}
		at += n
	}
	return nil
}

// applySmall applies an operation that concerns no publication in particular.
func (x *index) applySmall(o *op) {
	switch o.kind {
	case opReceived:
		x.received[o.id] = struct{}{}
	case opForgotten:
		delete(x.received, o.id)
	case opCleared:
		x.clear()
	case opSession:
		x.session = o.session
	case opOwner:
		x.owner = o.owner
	case opBase:
		clear(x.received)
		x.owner, x.session = "", nil
	}
}

func (x *index) put(seq uint64, e entry) {
	x.remove(seq)
	x.entries[seq] = e
	x.peak = max(x.peak, len(x.entries))
	x.tally.add(seq)
	x.bytes += int64(e.size)
	if s := x.segment(e.segment); s != nil {
		s.live++
	}
}

func (x *index) remove(seq uint64) {
	e, ok := x.entries[seq]
	if !ok {
		return
	}
	delete(x.entries, seq)
	x.tally.remove(seq)
	x.bytes -= int64(e.size)
	if s := x.segment(e.segment); s != nil {
		s.live--
	}
	if len(x.entries) == 0 && x.peak > 1<<10 {
		x.entries, x.peak = make(map[uint64]entry), 0 // a map does not shrink
	}
}

// clear removes all but the owner.
func (x *index) clear() {
	x.entries, x.peak = make(map[uint64]entry), 0
	x.tally, x.bytes, x.session = tally{}, 0, nil
	clear(x.received)
	for _, s := range x.segments {
		s.live = 0
	}
}

// empty reports whether the store has no publication and no received identifier.
func (x *index) empty() bool { return len(x.entries) == 0 && len(x.received) == 0 }

// drop removes the segments below number.
func (x *index) drop(number uint64) (dropped []*segment) {
	n := 0
	for x.segments[n].number < number {
		n++
	}
	dropped = x.segments[:n:n]
	x.segments = append([]*segment(nil), x.segments[n:]...)
	return dropped
}

// appendBase appends the operations at the start of a new segment, which repeat everything but the
// publications.
func (x *index) appendBase(dst []byte) []byte {
	dst = append(dst, byte(opBase))
	if x.owner != "" {
		dst, _ = appendOwner(dst, x.owner) // its length was checked when it was stored
	}
	if x.session != nil {
		dst, _ = appendSession(dst, x.session)
	}
	for id := range x.received {
		dst = appendID(dst, opReceived, id)
	}
	return dst
}
