package frames

import (
	"encoding/binary"
	"math/bits"
)

// varintSize returns the number of bytes of a variable byte integer.
func varintSize(n int) int { return max(1, (bits.Len32(uint32(n))+6)/7) }

// propertyWriter appends a property block. It is used twice: to measure, with dst nil and measuring
// set, and to write.
type propertyWriter struct {
	dst       []byte
	measuring bool
	n         int
}

func (w *propertyWriter) flag(id propertyID, set bool) {
	if set {
		w.byte(id, 1)
	}
}

// refusal writes 0 if set. A property that is absent says that something is available.
func (w *propertyWriter) refusal(id propertyID, set bool) {
	if set {
		w.byte(id, 0)
	}
}

func (w *propertyWriter) byte(id propertyID, b byte) {
	if w.n += 2; !w.measuring {
		w.dst = append(w.dst, byte(id), b)
	}
}

func (w *propertyWriter) uint16(id propertyID, n uint16) {
	if w.n += 3; !w.measuring {
		w.dst = binary.BigEndian.AppendUint16(append(w.dst, byte(id)), n)
	}
}

func (w *propertyWriter) uint32(id propertyID, n uint32) {
	if w.n += 5; !w.measuring {
		w.dst = binary.BigEndian.AppendUint32(append(w.dst, byte(id)), n)
	}
}

func (w *propertyWriter) varint(id propertyID, n uint32) {
	if w.n += 1 + varintSize(int(n)); !w.measuring {
		w.dst = binary.AppendUvarint(append(w.dst, byte(id)), uint64(n))
	}
}

// text writes a string, unless it is empty.
func (w *propertyWriter) text(id propertyID, s string) {
	if s == "" {
		return
	}
	if w.n += 3 + len(s); !w.measuring {
		w.dst = appendField(append(w.dst, byte(id)), s)
	}
}

// method writes an authentication method, which may be empty.
func (w *propertyWriter) method(s string) {
	if w.n += 3 + len(s); !w.measuring {
		w.dst = appendField(append(w.dst, byte(propAuthMethod)), s)
	}
}

// data writes binary data, unless it is nil.
func (w *propertyWriter) data(id propertyID, b []byte) {
	if b == nil {
		return
	}
	if w.n += 3 + len(b); !w.measuring {
		w.dst = appendField(append(w.dst, byte(id)), b)
	}
}

func (w *propertyWriter) user(list []UserProperty) {
	for i := range list {
		w.n += 5 + len(list[i].Name) + len(list[i].Value)
		if !w.measuring {
			w.dst = appendField(append(w.dst, byte(propUser)), list[i].Name)
			w.dst = appendField(w.dst, list[i].Value)
		}
	}
}

// A propertyBlock is the properties of a packet that can be written.
type propertyBlock interface{ write(*propertyWriter) }

// measureProperties returns the number of bytes of a block, without and with its length.
func measureProperties(b propertyBlock) (n, whole int) {
	w := propertyWriter{measuring: true}
	b.write(&w)
	return w.n, w.n + varintSize(w.n)
}

// writesNothing reports whether a block is empty, as that of a packet whose properties all have the
// value that absence means.
func writesNothing(b propertyBlock) bool {
	n, _ := measureProperties(b)
	return n == 0
}

// appendProperties appends a block of n bytes and its length.
func appendProperties(dst []byte, b propertyBlock, n int) []byte {
	w := propertyWriter{dst: appendLength(dst, n)}
	b.write(&w)
	return w.dst
}
