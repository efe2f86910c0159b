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
		return &ProtocolError{t, fmt.Sprintf("%d bytes after its end", len(c.b))}
	}
	return nil
}

func cutShort(t Type) error { return &ProtocolError{t, "cut short"} }
