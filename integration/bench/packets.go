package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The null broker and the limit programs encode and parse these packets. A packet has a first byte,
// a length of one to four bytes, and a body.
const (
	typeConnect    = 1 << 4
	typeConnack    = 2 << 4
	typePublish    = 3 << 4
	typePuback     = 4 << 4
	typePubrec     = 5 << 4
	typePubrel     = 6<<4 | 2
	typePubcomp    = 7 << 4
	typeSubscribe  = 8<<4 | 2
	typeSuback     = 9 << 4
	typePingreq    = 12 << 4
	typePingresp   = 13 << 4
	typeDisconnect = 14 << 4
)

var (
	errLength = errors.New("the length of a packet has more than four bytes")
	errShort  = errors.New("a packet is shorter than its fields")
)

// frame returns the start and the end of the body of the first packet in b. If the header is
// incomplete, end is 0. If the body is incomplete, end is greater than len(b).
func frame(b []byte) (body, end int, err error) {
	length, shift := 0, 0
	for i := 1; i < len(b); i++ {
		length |= int(b[i]&0x7f) << shift
		if b[i] < 0x80 {
			return i + 1, i + 1 + length, nil
		}
		if shift += 7; shift > 21 {
			return 0, 0, errLength
		}
	}
	return 0, 0, nil
}

// varint parses a length at the start of b.
func varint(b []byte) (n int, rest []byte, err error) {
	for i, shift := 0, 0; i < len(b) && shift <= 21; i, shift = i+1, shift+7 {
		n |= int(b[i]&0x7f) << shift
		if b[i] < 0x80 {
			return n, b[i+1:], nil
		}
	}
	return 0, nil, errLength
}

// text parses a string at the start of b.
func text(b []byte) (s, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errShort
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return nil, nil, errShort
	}
	return b[2:n], b[n:], nil
}

func qosOf(first byte) byte { return first >> 1 & 3 }

// appendHeader appends the first byte and the length of a packet.
func appendHeader(b []byte, first byte, length int) []byte {
	b = append(b, first)
	for ; length >= 0x80; length >>= 7 {
		b = append(b, byte(length)|0x80)
	}
	return append(b, byte(length))
}

func appendAck(b []byte, first byte, id uint16) []byte {
	return append(b, first, 2, byte(id>>8), byte(id))
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// A publication is an encoded PUBLISH that is sent again and again; only its identifier changes.
type publication struct {
	bytes []byte
	id    int // offset of the identifier; 0 at QoS 0, where there is no identifier
}

func newPublication(qos byte, payload []byte, v5 bool) publication {
	var p publication
	length := 2 + len(topic) + len(payload)
	if qos > 0 {
		length += 2
	}
	if v5 {
		length++
	}
	p.bytes = appendText(appendHeader(nil, typePublish|qos<<1, length), topic)
	if qos > 0 {
		p.id = len(p.bytes)
		p.bytes = append(p.bytes, 0, 0)
	}
	if v5 {
		p.bytes = append(p.bytes, 0) // no properties
	}
	p.bytes = append(p.bytes, payload...)
	return p
}

func (p *publication) append(b []byte, id uint16) []byte {
	n := len(b)
	b = append(b, p.bytes...)
	if p.id > 0 {
		binary.BigEndian.PutUint16(b[n+p.id:], id)
	}
	return b
}

// repeat returns copies of the packet that fill at least size bytes, and the number of copies.
func (p *publication) repeat(size int) (b []byte, n int) {
	for len(b) < size || n == 0 {
		b = p.append(b, 0)
		n++
	}
	return b, n
}

// idOf returns the packet identifier of an ack, or of a PUBLISH at QoS 1 or 2.
func idOf(first byte, body []byte) (uint16, error) {
	if first&0xf0 == typePublish {
		_, rest, err := text(body)
		if err != nil {
			return 0, fmt.Errorf("PUBLISH: %w", err)
		}
		body = rest
	}
	if len(body) < 2 {
		return 0, errShort
	}
	return binary.BigEndian.Uint16(body), nil
}
