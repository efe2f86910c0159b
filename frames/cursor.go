package frames

import (
	"encoding/binary"
	"fmt"
)

// cursor takes a body apart from the front. A getter that finds too little sets bad, returns zero, and every later one
// does the same; the parser asks once, at the end. Bytes it returns point into the body.
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

// field reads bytes behind their two-byte length.
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

// end tells whether the body held exactly what was read from it.
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
