package frames

import (
	"encoding/binary"
	"fmt"
)

// cursor reads a body from the front. A getter that finds too few bytes sets bad and returns zero.
// Every later getter then returns zero too, so the parser checks bad only once, at the end.
// Returned bytes point into the body.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) uint8() byte {
	if len(c.b) < 1 {
		c.fail()
		return 0
	}
	n := c.b[0]
	c.b = c.b[1:]
	return n
}

func (c *cursor) uint16() uint16 {
	if len(c.b) < 2 {
		c.fail()
		return 0
	}
	n := binary.BigEndian.Uint16(c.b)
	c.b = c.b[2:]
	return n
}

func (c *cursor) uint32() uint32 {
	if len(c.b) < 4 {
		c.fail()
		return 0
	}
	n := binary.BigEndian.Uint32(c.b)
	c.b = c.b[4:]
	return n
}

// varint reads a variable byte integer (section 1.5.5). It returns false if the integer is cut
// short or has more bytes than it needs [MQTT-1.5.5-1].
func (c *cursor) varint() (n uint32, ok bool) {
	for i := range maxVarintBytes {
		b := c.uint8()
		if c.bad {
			return 0, false
		}
		n |= uint32(b&0x7F) << (7 * i)
		if b < 0x80 {
			return n, b > 0 || i == 0
		}
	}
	return 0, false
}

// field reads a two-byte length and returns that number of bytes after it.
func (c *cursor) field() []byte {
	n := int(c.uint16())
	if len(c.b) < n {
		c.fail()
		return nil
	}
	field := c.b[:n:n]
	c.b = c.b[n:]
	return field
}

func (c *cursor) fail() { c.b, c.bad = nil, true }

// end returns an error if the body was too short or still has unread bytes.
func (c *cursor) end(t Type) error {
	if c.bad {
		return cutShort(t)
	}
	if len(c.b) > 0 {
		return malformed(t, fmt.Sprintf("%d bytes after its end", len(c.b)))
	}
	return nil
}

// ended returns the error of the properties, or that of the end of the body.
func (c *cursor) ended(t Type, r *propertyReader) error {
	if r.err != nil {
		return r.err
	}
	return c.end(t)
}

func cutShort(t Type) error { return malformed(t, "cut short") }
