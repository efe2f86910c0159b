package logstore

import "fmt"

// maxBuffer is the largest capacity of a buffer that is kept for the next commit.
const maxBuffer = 1 << 20

// write writes the net effect of the staged changes as one frame. The client identifier of the
// attached session is owner.
func (s *Store) write(owner string) error {
	b, err := s.stage.append(append(s.buf[:0], make([]byte, frameHeader)...), owner)
	if s.buf = b[:0]; cap(b) > maxBuffer {
		s.buf = nil
	}
	if err != nil || len(b) == frameHeader {
		return err
	}
	if n := len(b) - frameHeader; n > maxBody {
		return fmt.Errorf("the commit has %d bytes, the limit is %d", n, maxBody)
	}
	if need := int64(padded(len(b) - frameHeader)); need > s.head.room() {
		if err := s.rotate(need); err != nil {
			return err
		}
	}
	x := s.index
	s.left = s.left[:0]
	for _, g := range x.segments {
		s.left = append(s.left, g.live)
	}
	f := frame{number: s.head.next, tally: s.stage.predict(s.left)}
	if len(x.segments) > 1 && s.compact.due(x) && s.left[0] > 0 {
		if b, err = s.move(b); err != nil {
			return damage(err)
		}
	}
	f.first = s.firstNeeded()
	body := len(b)
	b = seal(b, f, s.head.salt)
	at := s.head.end
	if err := s.head.write(b); err != nil {
		s.compact.failed()
		return err
	}
	s.marked = false
	if err := x.apply(x.head(), at+frameHeader, b[frameHeader:body], false); err != nil {
		return err // not possible, since the frame is as this package writes it
	}
	x.head().end = s.head.end
	s.drop(f.first)
	return nil
}

// move appends operations that move records out of the oldest segment, as far as the head has room.
func (s *Store) move(b []byte) ([]byte, error) {
	size := len(b) - frameHeader
	room := s.head.room() - int64(padded(size)) - 8
	budget := int(min(room, int64(moveStep+2*size), int64(maxBody-size)))
	b, err := s.compact.append(b, s.index, s.stage, budget, &s.left[0])
	if err != nil {
		s.compact.failed()
	}
	return b, err
}

// firstNeeded returns the first segment with a live record after the commit.
func (s *Store) firstNeeded() uint64 {
	for i, n := range s.left {
		if n > 0 {
			return s.index.segments[i].number
		}
	}
	return s.head.number
}

// drop removes the segments before first, which the last frame on disk no longer needs.
func (s *Store) drop(first uint64) {
	if s.index.segments[0].number == first && len(s.remove.stale) == 0 {
		return
	}
	for _, g := range s.index.drop(first) {
		s.remove.stale = append(s.remove.stale, g.number)
		if s.compact.of == g.number {
			_ = s.compact.close()
		}
	}
	s.remove.run()
}

// rotate begins a new segment with room for a frame of need bytes.
func (s *Store) rotate(need int64) error {
	x := s.index
	base := x.appendBase(nil)
	f := frame{first: x.segments[0].number, tally: x.tally}
	if err := s.head.rotate(base, f, max(s.options.SegmentSize, need), need+int64(frameHeader)); err != nil {
		return err
	}
	x.segments = append(x.segments, &segment{number: s.head.number, end: s.head.end})
	return nil
}
