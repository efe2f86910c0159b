//go:build !wasm

package boltstore

import (
	"bytes"
	"fmt"
	"io"
)

// image reads the pages of a file without bbolt. It checks the range of each number from the file
// before it uses the number.
type image struct {
	r      io.ReaderAt
	size   int64
	path   string
	damage DamageError

	meta meta
	seen []bool // by page number: the page was found in the tree or in the list of free pages

	bucket string // the current bucket
	last   []byte // the previous key
	buf    []byte // holds the current page
}

// visitor is called for each entry of a bucket, in the order of keys. The slices are valid only
// during the call.
type visitor func(flags uint32, key, value []byte, offset int64)

func (im *image) report(key []byte, offset int64, format string, a ...any) {
	im.damage.Total++
	if len(im.damage.Places) < maxPlaces {
		im.damage.Places = append(im.damage.Places,
			Damage{Bucket: im.bucket, Key: bytes.Clone(key), Offset: offset, Reason: fmt.Sprintf(format, a...)})
	}
}

func (im *image) err() error {
	if im.damage.Total == 0 {
		return nil
	}
	im.damage.Path = im.path
	return &im.damage
}

// header selects the valid header page.
func (im *image) header(fallback bool) error {
	first, magic, ok := im.readMeta(0, 0)
	second, otherMagic, otherOK, at := meta{}, false, false, int64(0)
	if ok {
		at = first.pageSize
		second, otherMagic, otherOK = im.readMeta(at, 1)
	} else { // only a search finds the second page, since the first does not tell the page size
		for size := int64(minPageSize); size <= maxPageSize && !otherOK; size *= 2 {
			var m bool
			second, m, otherOK = im.readMeta(size, 1)
			otherMagic, otherOK = otherMagic || m, otherOK && second.pageSize == size
		}
	}
	switch {
	case ok && otherOK && (first.txid+1 == second.txid || second.txid+1 == first.txid):
	case !magic && !otherMagic:
		return foreign(im.path)
	case !ok && !otherOK:
		im.report(nil, 0, "both header pages are damaged or missing")
		return im.err()
	case !fallback:
		im.report(nil, at, "one of the two header pages is damaged; the last commit may be missing")
		return im.err()
	}
	if im.meta = first; !ok || otherOK && second.txid > first.txid {
		im.meta = second
	}
	if m := im.meta; m.high > uint64(im.size)/uint64(m.pageSize) {
		im.report(nil, im.size, "the file is shorter than its %d pages of %d bytes", m.high, m.pageSize)
		return im.err()
	}
	im.seen = make([]bool, im.meta.high)
	return nil
}

// readMeta reads one of the two header pages. bbolt writes them in turn: the transaction number
// modulo 2 must be turn.
func (im *image) readMeta(at int64, turn uint64) (m meta, magic, ok bool) {
	var b [pageHeader + metaSize]byte
	if _, err := im.r.ReadAt(b[:], at); err != nil {
		return meta{}, false, false
	}
	m, magic, ok = parseMeta(b[:])
	return m, magic, ok && m.txid%2 == turn
}

// page reads page id and its overflow pages into the buffer and marks all of them as seen. It
// returns nil if one of the pages is damaged.
func (im *image) page(id uint64) (page []byte, offset int64) {
	size := im.meta.pageSize
	if id < 2 || id >= im.meta.high {
		im.report(nil, 0, "a reference to page %d is out of range, the file has %d", id, im.meta.high)
		return nil, 0
	}
	offset = int64(id) * size
	var head [pageHeader]byte
	if _, err := im.r.ReadAt(head[:], offset); err != nil {
		im.report(nil, offset, "page %d cannot be read: %v", id, err)
		return nil, 0
	}
	overflow := uint64(native.Uint32(head[12:]))
	if self := native.Uint64(head[:]); self != id || overflow >= im.meta.high-id {
		im.report(nil, offset, "page %d has the number %d and %d overflow pages", id, self, overflow)
		return nil, 0
	}
	for i := id; i <= id+overflow; i++ {
		if im.seen[i] {
			im.report(nil, offset, "page %d is used twice", i)
			return nil, 0
		}
		im.seen[i] = true
	}
	n := int64(overflow+1) * size
	if int64(cap(im.buf)) < n {
		im.buf = make([]byte, n)
	}
	page = im.buf[:n]
	if _, err := im.r.ReadAt(page, offset); err != nil {
		im.report(nil, offset, "page %d cannot be read: %v", id, err)
		return nil, 0
	}
	return page, offset
}
