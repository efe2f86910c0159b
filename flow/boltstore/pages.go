//go:build !wasm

package boltstore

import (
	"encoding/binary"
	"hash/fnv"
)

// The layout of a bbolt file, version 2, with sizes in bytes. Numbers have the byte order of the
// machine.
const (
	pageMagic   = 0xED0CDAED
	pageVersion = 2

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	pageHeader   = 16 // id 8, flags 2, count 2, overflow 4
	elementSize  = 16 // leaf: flags 4, pos 4, ksize 4, vsize 4; branch: pos 4, ksize 4, page 8
	bucketHeader = 16 // root page 8 (0: the page follows), sequence 8
	metaSize     = 64

	minPageSize, maxPageSize = 1 << 10, 1 << 24 // the page sizes that bbolt tries
	maxDepth                 = 64
)

var native = binary.NativeEndian

// meta is the content of a header page.
type meta struct {
	pageSize             int64
	root, freelist, high uint64
	txid                 uint64
}

// parseMeta parses a header page. magic reports whether the page has the magic number of bbolt.
func parseMeta(page []byte) (m meta, magic, ok bool) {
	if len(page) < pageHeader+metaSize {
		return m, false, false
	}
	b := page[pageHeader:]
	magic = native.Uint32(b) == pageMagic
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	if !magic || native.Uint32(b[4:]) != pageVersion || native.Uint64(b[56:]) != sum.Sum64() {
		return m, magic, false
	}
	m = meta{
		pageSize: int64(native.Uint32(b[8:])),
		root:     native.Uint64(b[16:]), freelist: native.Uint64(b[32:]), high: native.Uint64(b[40:]),
		txid: native.Uint64(b[48:]),
	}
	return m, true, m.pageSize >= minPageSize && m.pageSize <= maxPageSize && m.pageSize&(m.pageSize-1) == 0
}
