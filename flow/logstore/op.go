package logstore

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// opKind is the kind of an operation. The numbers are part of the format.
type opKind byte

const (
	opPublication opKind = iota + 1 // a publication was accepted, or moved by compaction
	opProgress                      // the identifier or the released flag of a publication changed
	opCompleted                     // a publication ended
	opReceived                      // an identifier of a received message is held
	opForgotten                     // an identifier of a received message is no longer held
	opCleared                       // publications, identifiers and session record are gone
	opSession                       // the session record
	opOwner                         // the client identifier of the session
	opBase                          // owner, session record and identifiers follow in full; at the start of a segment
	opSealed                        // the segment after this one exists; at the end of a segment
)

// op is one operation of a commit.
type op struct {
	kind    opKind
	seq     uint64
	flight  // opProgress and opPublication; the field id also for opReceived and opForgotten
	record  publication
	session *flow.SessionRecord
	owner   string
}

func appendProgress(dst []byte, seq uint64, f flight) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, byte(opProgress)), seq)
	var flags byte
	if f.released {
		flags = releasedFlag
	}
	return binary.BigEndian.AppendUint16(append(dst, flags), f.id)
}

func appendCompleted(dst []byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, byte(opCompleted)), seq)
}

func appendID(dst []byte, kind opKind, id uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, byte(kind)), id)
}

func appendOwner(dst []byte, owner string) ([]byte, error) {
	return appendText(append(dst, byte(opOwner)), owner)
}

func appendSession(dst []byte, r *flow.SessionRecord) ([]byte, error) {
	dst = append(dst, byte(opSession), byte(r.Version))
	dst = binary.BigEndian.AppendUint32(dst, r.Expiry)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Seen.Unix()))
	return appendText(dst, r.ClientID)
}

// appendText appends a client identifier.
func appendText(dst []byte, s string) ([]byte, error) {
	if len(s) > math.MaxUint16 {
		return dst, fmt.Errorf("the client identifier has %d bytes, the limit is %d", len(s), math.MaxUint16)
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...), nil
}

// parseOp parses the operation at the start of b. It returns the size of the operation. The record
// of a publication refers to b.
func parseOp(b []byte) (o op, size int, err error) {
	r := cursor{b: b}
	o.kind = opKind(r.byte())
	switch o.kind {
	case opPublication:
		var n int
		if o.record, n, err = parsePublication(r.b); err != nil {
			return o, 0, fmt.Errorf("publication: %w", err)
		}
		o.seq, o.flight, r.b = o.record.seq, o.record.flight, r.b[n:]
	case opProgress:
		o.seq = r.uint64()
		flags := r.byte()
		if flags&^releasedFlag != 0 {
			return o, 0, fmt.Errorf("progress of publication %d: %w", o.seq, errFlags)
		}
		o.flight = flight{r.uint16(), flags != 0}
	case opCompleted:
		o.seq = r.uint64()
	case opReceived, opForgotten:
		o.id = r.uint16()
	case opCleared, opBase, opSealed:
	case opSession:
		s := flow.SessionRecord{Version: frames.Version(r.byte()), Expiry: r.uint32()}
		s.Seen = time.Unix(int64(r.uint64()), 0).UTC()
		s.ClientID = r.text()
		o.session = &s
	case opOwner:
		o.owner = r.text()
	default:
		return o, 0, fmt.Errorf("operation %d: %w", o.kind, errKind)
	}
	if r.bad {
		return o, 0, fmt.Errorf("operation %d: %w", o.kind, errLength)
	}
	return o, len(b) - len(r.b), nil
}

// cursor reads numbers from b. After a read past the end bad is set, and all reads return zero.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if len(c.b) < n {
		c.b, c.bad = nil, true
		return nil
	}
	taken := c.b[:n]
	c.b = c.b[n:]
	return taken
}

func (c *cursor) number(n int) (v uint64) {
	for _, b := range c.take(n) {
		v = v<<8 | uint64(b)
	}
	return v
}

func (c *cursor) byte() byte     { return byte(c.number(1)) }
func (c *cursor) uint16() uint16 { return uint16(c.number(2)) }
func (c *cursor) uint32() uint32 { return uint32(c.number(4)) }
func (c *cursor) uint64() uint64 { return c.number(8) }
func (c *cursor) text() string   { return string(c.take(int(c.uint16()))) }
