package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// scan reads one segment. It checks every number against the size of the file before it uses the
// number.
type scan struct {
	r      io.ReaderAt
	number uint64 // of the segment
	size   int64
	header header

	window []byte // the bytes of the file from offset at
	at     int64
}

// windowSize is the smallest number of bytes that a scan reads at a time.
const windowSize = 256 << 10

var errNoFormat = errors.New("a later format")

// newScan reads the header of a segment. The error is errNoFormat if the segment has a later
// format.
func newScan(f file, number uint64) (*scan, error) {
	size, err := f.size()
	if err != nil {
		return nil, err
	}
	c := &scan{r: f, number: number, size: size}
	b, err := c.bytes(0, min(size, int64(segmentHeader)))
	if err != nil {
		return nil, err
	}
	if c.header, err = parseHeader(b); err == nil && c.header.format > version {
		return c, errNoFormat
	}
	if err == nil && c.header.number != number {
		err = fmt.Errorf("it has the number %d", c.header.number)
	}
	if err == nil && c.header.size > size {
		err = fmt.Errorf("the file has %d of %d bytes", size, c.header.size)
	}
	if err != nil {
		return c, &headerError{err}
	}
	return c, nil
}

// headerError means that the header of a segment is damaged.
type headerError struct{ reason error }

func (e *headerError) Error() string { return "the header is damaged: " + e.reason.Error() }

// bytes returns n bytes of the file, which are valid until the next call. They must exist.
func (c *scan) bytes(offset, n int64) ([]byte, error) {
	if offset < c.at || offset+n > c.at+int64(len(c.window)) {
		want := min(max(n, windowSize), c.size-offset)
		if int64(cap(c.window)) < want {
			c.window = make([]byte, want)
		}
		c.window, c.at = c.window[:want], offset
		if got, err := c.r.ReadAt(c.window, offset); got < len(c.window) {
			c.window = c.window[:0]
			return nil, errors.Join(io.ErrUnexpectedEOF, err)
		}
	}
	offset -= c.at
	return c.window[offset:][:n:n], nil
}

// frameAt parses the header of a frame that fits into the file.
func (c *scan) frameAt(offset int64) (f frame, ok bool, err error) {
	if offset+frameHeader > c.size {
		return f, false, nil
	}
	b, err := c.bytes(offset, frameHeader)
	if err != nil {
		return f, false, err
	}
	if f, ok = parseFrame(b, c.header.salt); !ok || offset+int64(padded(f.length)) > c.size {
		return f, false, nil
	}
	return f, true, nil
}

// body returns the body of the frame at offset, and whether its checksum is valid.
func (c *scan) body(offset int64, f frame) (body []byte, ok bool, err error) {
	b, err := c.bytes(offset, int64(padded(f.length)))
	if err != nil {
		return nil, false, err
	}
	body = b[frameHeader:][:f.length:f.length]
	return body, intact(b, body, c.header.salt), nil
}

// find returns the first frame from offset on whose number is at least number. It reads to the end
// of the file.
func (c *scan) find(offset int64, number uint64) (at int64, found bool, err error) {
	for ; offset+frameHeader <= c.size; offset += 8 {
		b, err := c.bytes(offset, frameHeader)
		if err != nil {
			return 0, false, err
		}
		if binary.BigEndian.Uint64(b[16:]) < number { // also each 0, which is most of the space
			continue
		}
		if _, ok, err := c.frameAt(offset); ok || err != nil {
			return offset, ok, err
		}
	}
	return 0, false, nil
}

// extent describes the frames of a segment.
type extent struct {
	end  int64  // the end of the last frame
	last int64  // the offset of the last frame
	next uint64 // the number of the frame after the last one
	head frame  // the header of the last frame
}

// visitor receives each frame in order: its offset, its header and its body, which is valid until
// the visitor returns. An error is damage.
type visitor func(offset int64, f frame, body []byte) error

// lostFrame receives a damaged frame whose header is valid.
type lostFrame func(offset int64, f frame, body []byte)

// frames visits the frames of a segment and adds each damage to d. If limit is 0, the segment is
// the last one of the store: it ends with the first invalid frame, if no valid frame follows up to
// the end of the file. Otherwise it ends before the frame with the number limit. The function lost
// may be nil.
func (c *scan) frames(limit uint64, d *DamageError, visit visitor, lost lostFrame) (extent, error) {
	e := extent{end: int64(segmentHeader), last: int64(segmentHeader), next: c.header.frame}
	for limit == 0 || e.next < limit {
		f, ok, err := c.frameAt(e.end)
		if err != nil {
			return e, err
		}
		var body []byte
		intact := false
		if ok {
			if body, intact, err = c.body(e.end, f); err != nil {
				return e, err
			}
		}
		if intact && f.number == e.next {
			if err := visit(e.end, f, body); err != nil {
				d.add(c.number, e.end, "commit %d: %v", f.number, err)
			}
			e = extent{end: e.end + int64(padded(f.length)), last: e.end, next: f.number + 1, head: f}
			continue
		}
		if ok && !intact && lost != nil {
			lost(e.end, f, body)
		}
		if done, err := c.skip(&e, limit, d); done || err != nil {
			return e, err
		}
	}
	return e, nil
}

// skip handles an invalid frame at the end of e. It moves e to the next valid frame. If there is
// none, the segment is done.
func (c *scan) skip(e *extent, limit uint64, d *DamageError) (done bool, err error) {
	at := e.end
	f, ok, err := c.frameAt(at)
	if err == nil && (!ok || f.number <= e.next) {
		if at, ok, err = c.find(e.end+8, e.next); err == nil && ok {
			f, _, err = c.frameAt(at)
		}
	}
	if err != nil {
		return true, err
	}
	switch {
	case !ok && limit == 0 && e.next > c.header.frame:
		return true, nil // the first frame was synced before the file got its name, so it cannot be torn
	case !ok || limit > 0 && f.number > limit:
		d.add(c.number, e.end, "the commits from %d on are damaged", e.next)
		return true, nil
	}
	d.add(c.number, e.end, "%d bytes are damaged, from commit %d on; commit %d follows", at-e.end, e.next, f.number)
	e.end, e.next = at, f.number
	return false, nil
}
