//go:build !wasm

package boltstore

import "bytes"

// tree visits the entries under page id. All keys must be at least low and, unless limit is nil,
// below limit.
func (im *image) tree(id uint64, low, limit []byte, depth int, visit visitor) {
	if depth > maxDepth {
		im.report(nil, 0, "the tree is too deep")
		return
	}
	page, offset := im.page(id)
	if page == nil {
		return
	}
	switch kind := native.Uint16(page[8:]); kind {
	case leafPage:
		im.entries(page, offset, low, limit, visit)
	case branchPage:
		im.branch(bytes.Clone(page), offset, low, limit, depth, visit) // the pages below this branch overwrite the buffer
	default:
		im.report(nil, offset, "page %d in the tree has the wrong kind %#x", id, kind)
	}
}

func (im *image) branch(page []byte, offset int64, low, limit []byte, depth int, visit visitor) {
	count, ok := im.fits(page, offset)
	if !ok {
		return
	}
	keys := make([][]byte, count+1)
	for i := range count {
		if keys[i], ok = im.separator(page, offset, i); !ok {
			return
		}
	}
	if keys[count] = limit; count == 0 || bytes.Compare(keys[0], low) < 0 {
		im.report(nil, offset, "a branch of the tree is empty or out of order")
		return
	}
	for i := range count {
		if next := keys[i+1]; next != nil && bytes.Compare(keys[i], next) >= 0 {
			im.report(nil, offset, "a branch of the tree is out of order")
			return
		}
	}
	for i := range count {
		at := pageHeader + i*elementSize
		im.tree(native.Uint64(page[at+8:]), keys[i], keys[i+1], depth+1, visit)
	}
}

// entries visits the entries of a leaf.
func (im *image) entries(page []byte, offset int64, low, limit []byte, visit visitor) {
	count, ok := im.fits(page, offset)
	if !ok {
		return
	}
	for i := range count {
		key, value, place, ok := im.entry(page, offset, i)
		if !ok {
			return
		}
		// bbolt does not find a key that is out of order, and might write it a second time.
		at := offset + place
		if bytes.Compare(key, low) < 0 || limit != nil && bytes.Compare(key, limit) >= 0 ||
			im.last != nil && bytes.Compare(key, im.last) <= 0 {
			im.report(key, at, "its key is out of order")
			continue
		}
		im.last = append(im.last[:0], key...)
		visit(native.Uint32(page[pageHeader+i*elementSize:]), key, value, at)
	}
}

// freelist reads the list of free pages and checks that no page in it is in the tree.
func (im *image) freelist() {
	page, offset := im.page(im.meta.freelist)
	if page == nil {
		return
	}
	count, at := uint64(native.Uint16(page[10:])), pageHeader
	if count == 0xFFFF { // the count is in front of the first number
		count, at = native.Uint64(page[at:]), at+8
	}
	if native.Uint16(page[8:]) != freelistPage || count > uint64(len(page)-at)/8 {
		im.report(nil, offset, "the list of free pages is not a list")
		return
	}
	for i := range count {
		id := native.Uint64(page[at+int(i)*8:])
		if id < 2 || id >= im.meta.high || im.seen[id] {
			im.report(nil, offset, "page %d is listed as free, but is in use, listed twice or out of range", id)
			return
		}
		im.seen[id] = true
	}
}

// checkAllPages checks that each page is in the tree or free.
func (im *image) checkAllPages() {
	for id := 2; id < len(im.seen); id++ {
		if !im.seen[id] {
			im.report(nil, int64(id)*im.meta.pageSize, "page %d is neither used nor free", id)
			return
		}
	}
}

// fits returns the number of entries of a page, and whether the entries fit into the page.
func (im *image) fits(page []byte, offset int64) (count int, ok bool) {
	count = int(native.Uint16(page[10:]))
	if pageHeader+count*elementSize > len(page) {
		im.report(nil, offset, "a page has %d entries, which do not fit into it", count)
		return 0, false
	}
	return count, true
}

// entry returns entry i of a leaf. The result place is the offset of the value in the page.
func (im *image) entry(page []byte, offset int64, i int) (key, value []byte, place int64, ok bool) {
	at := pageHeader + i*elementSize
	e := page[at:]
	key, from, ok := slice(page, at, native.Uint32(e[4:]), native.Uint32(e[8:]))
	if ok {
		value, _, ok = slice(page, from, native.Uint32(e[8:]), native.Uint32(e[12:]))
	}
	if !ok || len(key) == 0 {
		im.report(nil, offset+int64(at), "an entry does not fit its page")
		return nil, nil, 0, false
	}
	return key, value, int64(from + len(key)), true
}

// separator returns the key of entry i of a branch.
func (im *image) separator(page []byte, offset int64, i int) (key []byte, ok bool) {
	at := pageHeader + i*elementSize
	key, _, ok = slice(page, at, native.Uint32(page[at:]), native.Uint32(page[at+4:]))
	if !ok || len(key) == 0 {
		im.report(nil, offset+int64(at), "an entry does not fit its page")
		return nil, false
	}
	return key, true
}

// slice returns the n bytes of page that begin pos bytes after at. The result from is their offset
// in the page.
func slice(page []byte, at int, pos, n uint32) (part []byte, from int, ok bool) {
	begin, end := uint64(at)+uint64(pos), uint64(at)+uint64(pos)+uint64(n)
	if end > uint64(len(page)) {
		return nil, 0, false
	}
	return page[begin:end:end], int(begin), true
}
