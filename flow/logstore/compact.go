package logstore

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// moveStep is the number of bytes of records that a commit moves, in addition to twice its own
// size, while compaction is due.
const moveStep = 64 << 10

// compactor moves live records from the oldest segment to the head, as part of commits. So
// compaction costs no sync of its own and never holds up a commit for long.
type compactor struct {
	dir  folder
	f    file   // the oldest segment; nil: not open
	of   uint64 // the number of f
	next int    // the place in the list of records of f
}

// due reports whether the segments before the head have more garbage than live records.
func (c *compactor) due(x *index) bool {
	sealed := int64(0)
	for _, s := range x.segments[:len(x.segments)-1] {
		sealed += s.end
	}
	return sealed > 2*x.bytes
}

// append appends operations that move records of the oldest segment, up to budget bytes, and
// subtracts them from left, the number of live records of the segment. It moves no record that the
// commit of g changes.
func (c *compactor) append(dst []byte, x *index, g *stage, budget int, left *int) ([]byte, error) {
	oldest := x.segments[0]
	if c.of != oldest.number || c.f == nil {
		if err := c.open(oldest.number); err != nil {
			return dst, err
		}
	}
	from := len(dst)
	for ; c.next < len(oldest.rows) && *left > 0; c.next++ {
		seq := oldest.rows[c.next].seq
		e, ok := x.entries[seq]
		if !ok || e.segment != oldest.number || e.offset != oldest.rows[c.next].offset {
			continue
		}
		if g.has(seq) || len(dst)-from+1+e.size > budget {
			break
		}
		at := len(dst) + 1
		dst = append(slices.Grow(dst, 1+e.size), byte(opPublication))[:at+e.size]
		if err := readRecord(c.f, dst[at:], seq, e); err != nil {
			return dst[:from], err
		}
		setFlight(dst[at:], e.flight)
		*left--
	}
	return dst, nil
}

// damagedRecord means that a record is not as it was written.
type damagedRecord struct {
	entry
	seq    uint64
	reason error
}

func (d *damagedRecord) Error() string { return fmt.Sprintf("publication %d: %v", d.seq, d.reason) }

// readRecord reads the record of an entry into b and checks it.
func readRecord(f file, b []byte, seq uint64, e entry) error {
	if n, err := f.ReadAt(b, e.offset); n < len(b) {
		return err
	}
	p, n, err := parsePublication(b)
	if err == nil && (p.seq != seq || n != len(b)) {
		err = errChecksum
	}
	if err != nil {
		return &damagedRecord{e, seq, err}
	}
	return nil
}

func (c *compactor) open(number uint64) error {
	if err := c.close(); err != nil {
		return err
	}
	f, err := c.dir.open(segmentName(number))
	if err == nil {
		c.f, c.of, c.next = f, number, 0
	}
	return err
}

// failed is called if the commit of moved records has failed, since they must then be moved again.
func (c *compactor) failed() { c.next = 0 }

func (c *compactor) close() error {
	if c.f == nil {
		return nil
	}
	f := c.f
	c.f, c.of = nil, 0
	return f.Close()
}

// remover removes segments that are no longer needed.
type remover struct {
	dir   folder
	stale []uint64
}

// run removes the files that can be removed. The others are tried again, at the latest by the next
// Open.
func (r *remover) run() {
	r.stale = slices.DeleteFunc(r.stale, func(number uint64) bool {
		err := r.dir.remove(segmentName(number))
		return err == nil || errors.Is(err, fs.ErrNotExist)
	})
}
