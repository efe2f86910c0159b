package logstore

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// version is the format version of a new segment.
const version = 1

const (
	magic         = "millrace.log"
	segmentHeader = len(magic) + 4 + 8 + 8 + 8 + 8 + 4 + 4
	segmentSuffix = ".seg"
	newSuffix     = ".new"
)

// header is the header of a segment.
type header struct {
	format uint32
	number uint64 // of the segment
	salt   salt
	frame  uint64 // the number of the first frame
	size   int64  // of the file
}

func newSalt() salt {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return salt(binary.BigEndian.Uint64(b[:]))
}

func appendHeader(dst []byte, h header) []byte {
	at := len(dst)
	dst = append(dst, magic...)
	dst = binary.BigEndian.AppendUint32(dst, h.format)
	dst = binary.BigEndian.AppendUint64(dst, h.number)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.salt))
	dst = binary.BigEndian.AppendUint64(dst, h.frame)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.size))
	dst = append(dst, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

func parseHeader(b []byte) (h header, err error) {
	if len(b) < segmentHeader {
		return h, errLength
	}
	sum := segmentHeader - 4
	if string(b[:len(magic)]) != magic || binary.BigEndian.Uint32(b[sum:]) != crc32.Checksum(b[:sum], castagnoli) {
		return h, errChecksum
	}
	r := cursor{b: b[len(magic):]}
	h = header{format: r.uint32(), number: r.uint64(), salt: salt(r.uint64()), frame: r.uint64(), size: int64(r.uint64())}
	if h.format == 0 || h.format == version && (h.number == 0 || h.frame == 0 || r.uint32() != 0) {
		return h, errFlags
	}
	return h, nil
}

// segmentName returns the name of a segment, such as 0000000000000001.seg.
func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, segmentSuffix) }

// segmentNumber is the inverse of segmentName. It returns 0 for another name.
func segmentNumber(name string) uint64 {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	n, err := strconv.ParseUint(digits, 16, 64)
	if !ok || err != nil || segmentName(n) != name {
		return 0
	}
	return n
}
