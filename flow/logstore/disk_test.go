package logstore

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
)

// sector is the number of bytes that a disk writes as a whole.
const sector = 512

var errCrashed = errors.New("the system has crashed")

// disk is a folder in memory. It keeps the content that the kernel shows apart from the content
// that the disk has. Each step that changes something calls step, which decides about its fate.
type disk struct {
	names   map[string]*inode // as the kernel shows them
	stored  map[string]*inode // as the disk has them
	changes []func(map[string]*inode)
	step    func(kind string) fate
	crashed bool
	steps   int
}

// fate is the outcome of one step.
type fate struct {
	err   error // the step fails with it, after the kernel has done the part given below
	part  bool  // half of the write is done
	crash bool  // all later steps fail with errCrashed
}

// inode is a file. A failed sync forgets dirty, as kernels do.
type inode struct {
	shown  []byte
	stored []byte
	dirty  map[int]bool // sectors of shown that are not in stored
	length bool         // whether the length is not in stored
}

func newDisk() *disk {
	return &disk{names: make(map[string]*inode), stored: make(map[string]*inode)}
}

func (d *disk) next(kind string) fate {
	if d.crashed {
		return fate{err: errCrashed}
	}
	d.steps++
	if d.step == nil {
		return fate{}
	}
	f := d.step(kind)
	if f.crash {
		d.crashed = true
		f.err = errCrashed
	}
	return f
}

func (d *disk) change(apply func(map[string]*inode)) {
	apply(d.names)
	d.changes = append(d.changes, apply)
}

func (d *disk) list() ([]string, error) { return slices.Sorted(maps.Keys(d.names)), nil }

func (d *disk) open(name string) (file, error) {
	if n, ok := d.names[name]; ok {
		return &handle{d, n}, nil
	}
	return nil, fs.ErrNotExist
}

func (d *disk) create(name string) (file, error) {
	if f := d.next("create"); f.err != nil {
		return nil, f.err
	}
	n := &inode{dirty: make(map[int]bool)}
	d.change(func(names map[string]*inode) { names[name] = n })
	return &handle{d, n}, nil
}

func (d *disk) rename(from, to string) error {
	if _, ok := d.names[from]; !ok {
		return fs.ErrNotExist
	}
	f := d.next("rename")
	if f.err == nil || f.part {
		d.change(func(names map[string]*inode) { names[to] = names[from]; delete(names, from) })
	}
	return f.err
}

func (d *disk) remove(name string) error {
	if _, ok := d.names[name]; !ok {
		return fs.ErrNotExist
	}
	f := d.next("remove")
	if f.err == nil || f.part {
		d.change(func(names map[string]*inode) { delete(names, name) })
	}
	return f.err
}

func (d *disk) sync() error {
	if f := d.next("sync folder"); f.err != nil {
		return f.err
	}
	d.stored, d.changes = maps.Clone(d.names), nil
	return nil
}

// image returns the disk after a power failure: the disk has some of the changes of names, in their
// order, and some of the dirty sectors.
func (d *disk) image(rnd *rand.Rand, chance int) *disk {
	out := newDisk()
	names := maps.Clone(d.stored)
	for _, apply := range d.changes[:rnd.IntN(len(d.changes)+1)] {
		apply(names)
	}
	for name, n := range names {
		content := bytes.Clone(n.stored)
		if n.length && rnd.IntN(100) < chance {
			content = append(content, make([]byte, max(0, len(n.shown)-len(content)))...)
		}
		for s := range n.dirty {
			if at := s * sector; at < len(content) && rnd.IntN(100) < chance {
				copy(content[at:min(at+sector, len(content))], n.shown[at:])
			}
		}
		n := &inode{shown: content, stored: bytes.Clone(content), dirty: make(map[int]bool)}
		out.names[name], out.stored[name] = n, n
	}
	return out
}

// killed returns the disk after the process was killed: nothing is lost.
func (d *disk) killed() *disk {
	d.step, d.crashed = nil, false
	return d
}

// handle is an open file.
type handle struct {
	d *disk
	n *inode
}

func (h *handle) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(h.n.shown).ReadAt(b, at)
}

func (h *handle) WriteAt(b []byte, at int64) (int, error) {
	f := h.d.next("write")
	if f.err != nil {
		if !f.part {
			return 0, f.err
		}
		b = b[:len(b)/2]
	}
	if end := int(at) + len(b); end > len(h.n.shown) {
		h.n.shown, h.n.length = append(h.n.shown, make([]byte, end-len(h.n.shown))...), true
	}
	copy(h.n.shown[at:], b)
	for s := int(at) / sector; s*sector < int(at)+len(b); s++ {
		h.n.dirty[s] = true
	}
	return len(b), f.err
}

func (h *handle) Close() error         { return nil }
func (h *handle) size() (int64, error) { return int64(len(h.n.shown)), nil }

func (h *handle) allocate(size int64) error {
	if f := h.d.next("allocate"); f.err != nil {
		return f.err
	}
	h.n.shown, h.n.length = append(h.n.shown, make([]byte, max(0, int(size)-len(h.n.shown)))...), true
	return nil
}

func (h *handle) sync() error     { return h.flush("sync") }
func (h *handle) syncData() error { return h.flush("sync data") }

func (h *handle) flush(kind string) error {
	f := h.d.next(kind)
	if f.crash {
		return f.err
	}
	if f.err == nil {
		h.n.stored = append(h.n.stored, make([]byte, max(0, len(h.n.shown)-len(h.n.stored)))...)
		for s := range h.n.dirty {
			copy(h.n.stored[s*sector:], h.n.shown[s*sector:min((s+1)*sector, len(h.n.shown))])
		}
	}
	clear(h.n.dirty)
	h.n.length = false
	return f.err
}

var _ io.ReaderAt = (*handle)(nil)

// openDisk opens a store on a disk.
func openDisk(d *disk) (*Store, error) {
	s := newStore("disk", &Options{SegmentSize: minSegment})
	return s, s.load(d)
}

// damagedDisk is an error of a disk that is not a crash.
var damagedDisk = fate{err: syscall.EIO}
