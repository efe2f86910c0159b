package logstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// The flags of a publication. The lowest two bits are the QoS. A progress record has releasedFlag
// only.
const (
	qosMask      = 3
	retainFlag   = 4
	releasedFlag = 8
	extrasFlag   = 16
	knownFlags   = qosMask | retainFlag | releasedFlag | extrasFlag
)

const (
	publicationSize = 4 + 4 + 8 + 1 + 2 + 2 // without the fields of variable length, and without extras
	extrasSize      = 8 + 4 + 4             // without the properties
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// flight is the progress of a publication.
type flight struct {
	id       uint16
	released bool
}

// publication is the record of a publication. Its slices are parts of the parsed bytes.
type publication struct {
	seq uint64
	flight
	qos      frames.QoS
	retain   bool
	deadline int64  // Unix time in seconds; 0: none
	interval uint32 // the message expiry interval in seconds; 0: none
	block    []byte // the properties without expiry, as in a PUBLISH
	topic    []byte
	payload  []byte
}

// appendPublication appends the record of a publication.
func appendPublication(dst []byte, c *flow.Change, f flight) ([]byte, error) {
	m := &c.Message
	if len(m.Topic) > math.MaxUint16 {
		return dst, fmt.Errorf("the topic has %d bytes, the limit is %d", len(m.Topic), math.MaxUint16)
	}
	at := len(dst)
	flags := byte(m.QoS) & qosMask
	if m.Retain {
		flags |= retainFlag
	}
	extras := !c.Deadline.IsZero() || m.Properties != nil
	if extras {
		flags |= extrasFlag
	}
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0) // the checksum and the size
	dst = binary.BigEndian.AppendUint64(dst, c.Seq)
	dst = append(dst, flags, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(m.Topic)))
	if extras {
		var err error
		if dst, err = appendExtras(dst, m.Properties, c.Deadline); err != nil {
			return dst[:at], err
		}
	}
	dst = append(dst, m.Topic...)
	dst = append(dst, m.Payload...)
	if len(dst)-at > maxBody {
		return dst[:at], fmt.Errorf("the publication has %d bytes, the limit is %d", len(dst)-at, maxBody)
	}
	binary.BigEndian.PutUint32(dst[at+4:], uint32(len(dst)-at))
	setFlight(dst[at:], f)
	return dst, nil
}

// appendExtras appends the deadline and the properties that a store keeps. Identifiers of
// subscriptions are not among them, since only a received message has them.
func appendExtras(dst []byte, p *frames.Properties, deadline time.Time) ([]byte, error) {
	var kept frames.Properties
	var interval uint32
	if p != nil {
		kept = frames.Properties{ContentType: p.ContentType, ResponseTopic: p.ResponseTopic,
			Correlation: p.Correlation, Text: p.Text, User: p.User}
		seconds := (p.Expiry-1)/time.Second + 1 // rounded up
		if p.Expiry < 0 || int64(seconds) > math.MaxUint32 {
			return dst, fmt.Errorf("the message expiry interval %v is outside 0 to 4,294,967,295 s", p.Expiry)
		}
		if p.Expiry > 0 {
			interval = uint32(seconds)
		}
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(unixSeconds(deadline)))
	dst = binary.BigEndian.AppendUint32(dst, interval)
	at := len(dst)
	dst, err := frames.AppendProperties(append(dst, 0, 0, 0, 0), &kept)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst, err
}

// unixSeconds returns t as Unix time, rounded up, or 0 if t is zero. The start of Unix time becomes
// 1, since 0 stands for no time.
func unixSeconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	n := t.Unix()
	if t.Nanosecond() > 0 {
		n++
	}
	if n == 0 {
		n = 1
	}
	return n
}

// setFlight changes the progress in a record and sets the checksum.
func setFlight(record []byte, f flight) {
	record[16] &^= releasedFlag
	if f.released {
		record[16] |= releasedFlag
	}
	binary.BigEndian.PutUint16(record[17:], f.id)
	binary.BigEndian.PutUint32(record, crc32.Checksum(record[4:], castagnoli))
}

// parsePublication parses the record at the start of b. It returns the size of the record.
func parsePublication(b []byte) (p publication, size int, err error) {
	if len(b) < publicationSize {
		return p, 0, errLength
	}
	n := binary.BigEndian.Uint32(b[4:])
	if n < publicationSize || uint64(n) > uint64(len(b)) {
		return p, 0, errLength
	}
	size = int(n)
	if b = b[:size:size]; binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return p, size, errChecksum
	}
	flags := b[16]
	if flags&^knownFlags != 0 || flags&qosMask == qosMask {
		return p, size, errFlags
	}
	p.seq = binary.BigEndian.Uint64(b[8:])
	p.flight = flight{binary.BigEndian.Uint16(b[17:]), flags&releasedFlag != 0}
	p.qos, p.retain = frames.QoS(flags&qosMask), flags&retainFlag != 0
	topic := int(binary.BigEndian.Uint16(b[19:]))
	if b = b[publicationSize:]; flags&extrasFlag != 0 {
		if b, err = p.parseExtras(b); err != nil {
			return p, size, err
		}
	}
	if topic > len(b) {
		return p, size, errLength
	}
	p.topic, p.payload = b[:topic:topic], b[topic:]
	return p, size, nil
}

// parseExtras cuts the extras from the front of b.
func (p *publication) parseExtras(b []byte) ([]byte, error) {
	if len(b) < extrasSize {
		return nil, errLength
	}
	p.deadline, p.interval = int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:])
	n := binary.BigEndian.Uint32(b[12:])
	if b = b[extrasSize:]; uint64(n) > uint64(len(b)) {
		return nil, errLength
	}
	p.block = b[:n:n]
	return b[n:], nil
}

// properties returns the properties, which do not refer to the record.
func (p *publication) properties() (*frames.Properties, error) {
	props, err := frames.ParseProperties(p.block)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProperties, err)
	}
	if _, expires := props.Left(time.Time{}); expires || props != nil && props.Subscriptions != nil {
		return nil, errProperties
	}
	if p.interval > 0 {
		if props == nil {
			props = new(frames.Properties)
		}
		props.Expiry = time.Duration(p.interval) * time.Second
	}
	return props, nil
}

// restore returns the publication as a session has it. It does not refer to the record, except for
// the topic, which the caller sets.
func (p *publication) restore() (flow.Publication, error) {
	props, err := p.properties()
	if err != nil {
		return flow.Publication{}, err
	}
	r := flow.Publication{Seq: p.seq, ID: p.id, Released: p.released,
		Message: frames.Message{QoS: p.qos, Retain: p.retain, Payload: append([]byte{}, p.payload...), Properties: props}}
	if p.deadline != 0 {
		r.Deadline = time.Unix(p.deadline, 0).UTC()
	}
	return r, nil
}
