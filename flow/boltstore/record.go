//go:build !wasm

package boltstore

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// The format versions of a file. A new file has format 1, which every version of this package
// reads.
const (
	baseFormat = 1
	version    = 2 // adds the session record, and the extras of publications
)

const magic = "millrace"

const (
	retainFlag   = 1
	releasedFlag = 2
	extrasFlag   = 4 // in publications of format 2 only
)

// Sizes of values in bytes, without the fields of variable length.
const (
	formatSize   = len(magic) + 4 + 4
	stateSize    = 6*8 + 4
	flightSize   = 4 + 1 + 2
	receivedSize = 4
)

var (
	errLength   = errors.New("its length is wrong")
	errChecksum = errors.New("its checksum is wrong")
	errFlags    = errors.New("its flags are unknown")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the checksum of a record. The four bytes value[at : at+4], which store it, are
// left out.
func checksum(key, value []byte, at int) uint32 {
	sum := crc32.Checksum(key, castagnoli)
	sum = crc32.Update(sum, castagnoli, value[:at])
	return crc32.Update(sum, castagnoli, value[at+4:])
}

func seal(key, value []byte, at int) {
	binary.BigEndian.PutUint32(value[at:], checksum(key, value, at))
}

func checkSeal(key, value []byte, at int) error {
	if binary.BigEndian.Uint32(value[at:]) != checksum(key, value, at) {
		return errChecksum
	}
	return nil
}

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }
func idKey(id uint16) []byte   { return binary.BigEndian.AppendUint16(nil, id) }

// flight is the progress of a publication.
type flight struct {
	id       uint16
	released bool
}

func appendFlight(dst, key []byte, f flight) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, flags(false, f.released))
	dst = binary.BigEndian.AppendUint16(dst, f.id)
	seal(key, dst[at:], 0)
	return dst
}

func parseFlight(key, value []byte) (f flight, err error) {
	if len(key) != 8 || len(value) != flightSize {
		return f, errLength
	}
	if err := checkSeal(key, value, 0); err != nil {
		return f, err
	}
	if value[4]&^releasedFlag != 0 {
		return f, errFlags
	}
	return flight{id: binary.BigEndian.Uint16(value[5:]), released: value[4] != 0}, nil
}

func appendReceived(dst, key []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	seal(key, dst[at:], 0)
	return dst
}

func parseReceived(key, value []byte) (uint16, error) {
	if len(key) != 2 || len(value) != receivedSize {
		return 0, errLength
	}
	return binary.BigEndian.Uint16(key), checkSeal(key, value, 0)
}

func flags(retain, released bool) (b byte) {
	if retain {
		b |= retainFlag
	}
	if released {
		b |= releasedFlag
	}
	return b
}

// tally is the number of records in a bucket, and the sum of their keys, which may wrap.
type tally struct{ count, sum uint64 }

func (t *tally) add(key []byte)    { t.count++; t.sum += keyNumber(key) }
func (t *tally) remove(key []byte) { t.count--; t.sum -= keyNumber(key) }

// keyNumber returns the number in a key of 2 or 8 bytes; for other keys the result is meaningless.
func keyNumber(key []byte) (n uint64) {
	for _, b := range key {
		n = n<<8 | uint64(b)
	}
	return n
}

// state is the record with the tallies and the owner. Each commit writes it.
type state struct {
	publications, flight, received tally
	owner                          string
}

func (s *state) append(dst []byte) []byte {
	at := len(dst)
	for _, t := range []tally{s.publications, s.flight, s.received} {
		dst = binary.BigEndian.AppendUint64(dst, t.count)
		dst = binary.BigEndian.AppendUint64(dst, t.sum)
	}
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, s.owner...)
	seal(stateKey, dst[at:], stateSize-4)
	return dst
}

func parseState(value []byte) (s state, err error) {
	if len(value) < stateSize {
		return s, errLength
	}
	if err := checkSeal(stateKey, value, stateSize-4); err != nil {
		return s, err
	}
	for i, t := range []*tally{&s.publications, &s.flight, &s.received} {
		t.count = binary.BigEndian.Uint64(value[16*i:])
		t.sum = binary.BigEndian.Uint64(value[16*i+8:])
	}
	s.owner = string(value[stateSize:])
	return s, nil
}

func appendFormat(dst []byte, v uint32) []byte {
	at := len(dst)
	dst = append(dst, magic...)
	dst = binary.BigEndian.AppendUint32(dst, v)
	dst = append(dst, 0, 0, 0, 0)
	seal(formatKey, dst[at:], formatSize-4)
	return dst
}

func parseFormat(value []byte) (uint32, error) {
	if len(value) != formatSize || string(value[:len(magic)]) != magic {
		return 0, ErrForeign
	}
	return binary.BigEndian.Uint32(value[len(magic):]), checkSeal(formatKey, value, formatSize-4)
}
