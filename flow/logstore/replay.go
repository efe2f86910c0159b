package logstore

import (
	"errors"
	"slices"
)

// replayed is the content of a folder, as its segments tell it.
type replayed struct {
	index *index   // nil: the folder has no segment
	last  extent   // of the head
	size  int64    // of the head
	salt  salt     // of the head
	stale []uint64 // segments that are no longer needed
}

// replay reads the segments of a folder. It returns all damage as one [DamageError].
func replay(dir folder, path string) (r replayed, err error) {
	numbers, err := listSegments(dir)
	if err != nil || len(numbers) == 0 {
		return r, err
	}
	d := &DamageError{Path: path}
	// The last valid frame of all tells which segment is the first that is needed.
	head := numbers[len(numbers)-1]
	e, err := visitSegment(dir, path, head, 0, d, func(int64, frame, []byte) error { return nil }, nil)
	if err == nil {
		err = d.err()
	}
	if err != nil {
		return r, err
	}
	first := e.head.first
	i, _ := slices.BinarySearch(numbers, first)
	r.stale, numbers = numbers[:i:i], numbers[i:]
	for i, n := range numbers {
		if want := first + uint64(i); n != want {
			d.add(want, 0, "the segment is missing")
			return r, d.err()
		}
	}
	if err := r.read(dir, path, numbers, d); err != nil {
		return r, err
	}
	if d.Total == 0 && r.last.head.tally != r.index.tally {
		d.add(head, r.last.last, "commit %d has %d publications with the sum of numbers %d, the segments have %d with %d",
			r.last.head.number, r.last.head.count, r.last.head.sum, r.index.tally.count, r.index.tally.sum)
	}
	return r, d.err()
}

// read reads consecutive segments into an index.
func (r *replayed) read(dir folder, path string, numbers []uint64, d *DamageError) error {
	r.index = newIndex()
	for _, n := range numbers {
		r.index.segments = append(r.index.segments, &segment{number: n})
	}
	for i, s := range r.index.segments {
		limit := uint64(0)
		if i+1 < len(numbers) {
			h, err := headerOf(dir, path, numbers[i+1], d)
			if err != nil {
				return err
			}
			limit = h.frame
		}
		e, err := visitSegment(dir, path, s.number, limit, d, func(offset int64, _ frame, body []byte) error {
			return r.index.apply(s, offset+frameHeader, body, true)
		}, nil)
		if err != nil {
			return err
		}
		s.end, r.last = e.end, e
	}
	return r.measureHead(dir)
}

// measureHead reads the size and the salt of the head.
func (r *replayed) measureHead(dir folder) error {
	f, err := dir.open(segmentName(r.index.head().number))
	if err != nil {
		return err
	}
	c, err := newScan(f, r.index.head().number)
	if err == nil {
		r.size, r.salt = c.size, c.header.salt
	}
	return errors.Join(err, f.Close())
}

// listSegments returns the numbers of the segments in a folder, in ascending order.
func listSegments(dir folder) (numbers []uint64, err error) {
	names, err := dir.list()
	for _, name := range names {
		if n := segmentNumber(name); n != 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

// visitSegment opens a segment, visits its frames and closes it. It adds each damage to d.
func visitSegment(dir folder, path string, number, limit uint64, d *DamageError, visit visitor, lost lostFrame) (e extent, err error) {
	f, err := dir.open(segmentName(number))
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c, err := newScan(f, number)
	if err != nil {
		return e, headerProblem(err, path, number, c, d)
	}
	return c.frames(limit, d, visit, lost)
}

// headerOf returns the header of a segment.
func headerOf(dir folder, path string, number uint64, d *DamageError) (h header, err error) {
	f, err := dir.open(segmentName(number))
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c, err := newScan(f, number)
	if err != nil {
		return h, headerProblem(err, path, number, c, d)
	}
	return c.header, nil
}

// headerProblem returns the error for a segment whose header cannot be used. It adds damage to d.
func headerProblem(err error, path string, number uint64, c *scan, d *DamageError) error {
	if errors.Is(err, errNoFormat) {
		return &FormatError{Path: path, Format: c.header.format, Known: version}
	}
	if damage := new(headerError); errors.As(err, &damage) {
		d.add(number, 0, "%v", damage)
		return d
	}
	return err
}
