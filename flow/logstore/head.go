package logstore

import (
	"errors"
	"fmt"
	"io"
)

// head is the open file of the last segment.
//
// Invariant: all bytes before end are valid frames. They are on disk, except for the last frame
// while unsynced is set.
type head struct {
	dir    folder
	f      file // nil: it must be opened again
	number uint64
	salt   salt
	size   int64  // of the file; the space up to size is reserved
	end    int64  // of the last frame
	last   int64  // the offset of the last frame
	next   uint64 // the number of the next frame
	noSync bool

	unsynced bool // a process that was killed may have left the last frame
	suspect  bool // a write or a sync has failed
	sealed   bool // the next segment may exist, so this one must not change
}

// room returns the number of bytes that fit into the file.
func (h *head) room() int64 {
	if h.sealed {
		return 0
	}
	return h.size - h.end - sealSize
}

// sealSize is the size of the frame that ends a segment.
const sealSize = frameHeader + 8

// write writes a sealed frame after the last one and syncs it.
func (h *head) write(b []byte) error {
	if _, err := h.f.WriteAt(b, h.end); err != nil {
		// A full disk takes a part of the frame, which is not valid. The next frame overwrites it.
		h.suspect = h.suspect || !noSpace(err)
		return err
	}
	if !h.noSync {
		if err := h.f.syncData(); err != nil {
			h.suspect = true
			return err
		}
	}
	h.last, h.end, h.next = h.end, h.end+int64(len(b)), h.next+1
	return nil
}

// heal makes sure that all frames are on disk, before another frame or an answer relies on them.
func (h *head) heal() error {
	if h.unsynced && !h.suspect {
		if err := h.rewriteLast(); err != nil {
			h.suspect = true
			return fmt.Errorf("the last commit is not synced: %w", err)
		}
	}
	if h.suspect {
		if err := h.renew(); err != nil {
			return fmt.Errorf("the segment %s is not synced: %w", segmentName(h.number), err)
		}
	}
	h.unsynced, h.suspect = false, false
	return nil
}

// rewriteLast writes the last frame again and syncs it. The process before may have been killed
// after a failed sync, so that the kernel has the frame, counts it as clean, and the disk does not
// have it. A sync alone would then succeed and write nothing.
func (h *head) rewriteLast() error {
	if h.noSync {
		return nil
	}
	b := make([]byte, h.end-h.last)
	if _, err := h.f.ReadAt(b, h.last); err != nil {
		return err
	}
	if _, err := h.f.WriteAt(b, h.last); err != nil {
		return err
	}
	return errors.Join(h.f.sync(), h.dir.sync())
}

// renew opens the file again, reads and checks all frames up to the end of the last good commit,
// and replaces the file by a copy of them. After a failed sync nothing of the file is trusted: the
// kernel may show pages that the disk does not have, and the disk may have lost the page that the
// failed frame shares with the frame before it.
func (h *head) renew() error {
	if err := h.open(); err != nil {
		return err
	}
	first, err := h.verify()
	if err != nil {
		return err
	}
	content := make([]byte, h.end-int64(segmentHeader))
	if _, err := h.f.ReadAt(content, int64(segmentHeader)); err != nil {
		return err
	}
	if err := h.close(); err != nil { // some systems do not rename over an open file
		return err
	}
	n := newFile{dir: h.dir, name: segmentName(h.number), size: h.size, enough: h.end + sealSize, fill: func(w io.WriterAt, size int64) error {
		first.size = size
		_, err := w.WriteAt(append(appendHeader(nil, first), content...), 0)
		return err
	}}
	size, _, err := n.create()
	if err = errors.Join(err, h.open()); err == nil {
		h.size = size
	}
	return err
}

// verify reads all frames and compares them with the head. It returns the header.
func (h *head) verify() (header, error) {
	d := new(DamageError)
	c, err := newScan(h.f, h.number)
	if err != nil {
		return header{}, headerProblem(err, "", h.number, c, d)
	}
	c.size = h.end
	e, err := c.frames(0, d, func(int64, frame, []byte) error { return nil }, nil)
	if err == nil && d.Total == 0 && (e.end != h.end || e.next != h.next || c.header.salt != h.salt) {
		d.add(h.number, e.end, "the commits from %d on are damaged", e.next)
	}
	return c.header, errors.Join(err, d.err())
}

// open opens the file again.
func (h *head) open() error {
	if err := h.close(); err != nil {
		return err
	}
	f, err := h.dir.open(segmentName(h.number))
	if err == nil {
		h.f = f
	}
	return err
}

func (h *head) close() error {
	if h.f == nil {
		return nil
	}
	f := h.f
	h.f = nil
	return f.Close()
}

// rotate creates the next segment and continues there. The new segment begins with a frame whose
// body is base. It has room for size bytes, or if the disk is too full, for enough bytes.
func (h *head) rotate(base []byte, f frame, size, enough int64) error {
	s := newSalt()
	f.number = h.next
	b := make([]byte, frameHeader, frameHeader+len(base)+8)
	b = seal(append(b, base...), f, s)
	end := int64(segmentHeader + len(b))
	n := newFile{dir: h.dir, name: segmentName(h.number + 1), size: end + size + sealSize, enough: end + enough + sealSize,
		noSync: h.noSync && h.number > 0, // a new store is synced in any case
		fill: func(w io.WriterAt, size int64) error {
			first := header{format: version, number: h.number + 1, salt: s, frame: h.next, size: size}
			_, err := w.WriteAt(append(appendHeader(nil, first), b...), 0)
			return err
		}}
	size, renamed, err := n.create()
	if err != nil {
		h.sealed = h.sealed || renamed
		return err
	}
	next := head{dir: h.dir, number: h.number + 1, salt: s, size: size, end: end,
		last: int64(segmentHeader), next: h.next + 1, noSync: h.noSync}
	if err := next.open(); err != nil {
		h.sealed = true
		return err
	}
	// From here on a missing next segment is noticed. Nothing depends on this frame, so it is not
	// synced, and an error is ignored.
	if h.f != nil {
		_, _ = h.f.WriteAt(seal(append(make([]byte, frameHeader), byte(opSealed)), f, h.salt), h.end)
	}
	_ = h.close()
	*h = next
	return nil
}
