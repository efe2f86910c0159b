package logstore

import (
	"encoding/binary"
	"hash/crc32"
)

// frameHeader is the size of the header of a frame.
const frameHeader = 48

// maxBody is the largest size of the body of a frame, so that sizes fit an int of 32 bits.
const maxBody = 1 << 30

// frame is the header of a frame. A frame is one commit, which a reader finds as a whole or not at
// all. Frames begin at multiples of 8 bytes.
type frame struct {
	length int    // of the body
	number uint64 // consecutive through all segments, from 1
	first  uint64 // the oldest segment that is needed once this frame is valid
	tally         // of the publications in the store once this frame is valid
}

// tally is the number of publications and the sum of their Seqs, which may wrap. It reveals a
// publication that is missing although all checksums are valid.
type tally struct{ count, sum uint64 }

func (t *tally) add(seq uint64)    { t.count++; t.sum += seq }
func (t *tally) remove(seq uint64) { t.count--; t.sum -= seq }

// salt is the random number of a segment. All checksums of the segment depend on it, so that a
// payload cannot contain bytes that look like a frame.
type salt uint64

func (s salt) checksum(b []byte) uint32 {
	var first [8]byte
	binary.BigEndian.PutUint64(first[:], uint64(s))
	return crc32.Update(crc32.Checksum(first[:], castagnoli), castagnoli, b)
}

// padded returns the size of a frame with a body of n bytes.
func padded(n int) int { return (frameHeader + n + 7) &^ 7 }

// seal completes a frame: b is room for the header and the body, to which seal appends zeros.
func seal(b []byte, f frame, s salt) []byte {
	f.length = len(b) - frameHeader
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint32(b[4:], s.checksum(b[frameHeader:frameHeader+f.length]))
	binary.BigEndian.PutUint32(b[8:], uint32(f.length))
	binary.BigEndian.PutUint32(b[12:], 0)
	binary.BigEndian.PutUint64(b[16:], f.number)
	binary.BigEndian.PutUint64(b[24:], f.first)
	binary.BigEndian.PutUint64(b[32:], f.count)
	binary.BigEndian.PutUint64(b[40:], f.sum)
	binary.BigEndian.PutUint32(b, s.checksum(b[4:frameHeader]))
	return b
}

// parseFrame parses the header of a frame.
func parseFrame(b []byte, s salt) (f frame, ok bool) {
	f.number = binary.BigEndian.Uint64(b[16:])
	if f.number == 0 || binary.BigEndian.Uint32(b) != s.checksum(b[4:frameHeader]) {
		return f, false
	}
	length := binary.BigEndian.Uint32(b[8:])
	if length > maxBody || binary.BigEndian.Uint32(b[12:]) != 0 {
		return f, false
	}
	f.length = int(length)
	f.first = binary.BigEndian.Uint64(b[24:])
	f.tally = tally{binary.BigEndian.Uint64(b[32:]), binary.BigEndian.Uint64(b[40:])}
	return f, true
}

// intact reports whether the checksum of the body is valid. The slice header is the header of the
// frame.
func intact(header, body []byte, s salt) bool {
	return binary.BigEndian.Uint32(header[4:]) == s.checksum(body)
}
