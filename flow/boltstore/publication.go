//go:build !wasm

package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

const (
	publicationSize = 4 + 1 + 1 + 2 + 2 // without the fields of variable length, and without extras
	extrasSize      = 4 + 8 + 4         // without the properties
)

var errProperties = errors.New("its properties are malformed")

// publication is a record of the publications bucket. The topic, the payload and the extras of a
// parsed record are slices of its value.
type publication struct {
	message frames.Message // without topic and properties
	topic   []byte
	flight
	extras   bool // the record has the fields of format 2
	deadline int64
	interval uint32
	block    []byte // the properties without expiry, as in a PUBLISH
}

// needsExtras reports whether a publication needs a record of format 2.
func needsExtras(m *frames.Message, deadline time.Time) bool {
	p := m.Properties
	return !deadline.IsZero() || p != nil &&
		(p.Expiry != 0 || p.ContentType != "" || p.ResponseTopic != "" || p.Correlation != nil || p.Text || len(p.User) > 0)
}

// appendPublication appends the value for key to dst. The value is of format 1 if that has room for
// the publication.
func appendPublication(dst, key []byte, m *frames.Message, deadline time.Time, f flight) ([]byte, error) {
	if len(m.Topic) > math.MaxUint16 {
		return dst, fmt.Errorf("the topic has %d bytes, the limit is %d", len(m.Topic), math.MaxUint16)
	}
	at, flags := len(dst), flags(m.Retain, f.released)
	extras := needsExtras(m, deadline)
	if extras {
		flags |= extrasFlag
	}
	dst = append(dst, 0, 0, 0, 0, byte(m.QoS), flags)
	dst = binary.BigEndian.AppendUint16(dst, f.id)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(m.Topic)))
	dst = append(dst, m.Topic...)
	if extras {
		var err error
		if dst, err = appendExtras(dst, m.Properties, deadline); err != nil {
			return dst[:at], err
		}
	}
	dst = append(dst, m.Payload...)
	seal(key, dst[at:], 0)
	return dst, nil
}

// appendExtras appends the fields of format 2. They have no identifiers of subscriptions, which
// only a received message has.
func appendExtras(dst []byte, p *frames.Properties, deadline time.Time) ([]byte, error) {
	var stored frames.Properties
	var interval uint32
	if p != nil {
		stored = frames.Properties{ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, Correlation: p.Correlation,
			Text: p.Text, User: p.User}
		var err error
		if interval, err = seconds(p.Expiry); err != nil {
			return dst, err
		}
	}
	at := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(unixSeconds(deadline)))
	dst = binary.BigEndian.AppendUint32(dst, interval)
	dst, err := frames.AppendProperties(dst, &stored)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-extrasSize))
	return dst, err
}

// seconds returns an expiry interval in whole seconds, rounded up.
func seconds(d time.Duration) (uint32, error) {
	n := int64(d / time.Second)
	if d%time.Second > 0 {
		n++
	}
	if d < 0 || n > math.MaxUint32 {
		return 0, fmt.Errorf("the message expiry interval %v is outside 0 to 4,294,967,295 s", d)
	}
	return uint32(n), nil
}

// unixSeconds returns t as Unix time, rounded up, or 0 if t is zero.
func unixSeconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	n := t.Unix()
	if t.Nanosecond() > 0 {
		n++
	}
	if n == 0 { // 0 stands for no time
		n = 1
	}
	return n
}

// fromUnix is the inverse of unixSeconds.
func fromUnix(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// parsePublication parses the value for key.
func parsePublication(key, value []byte) (p publication, err error) {
	if len(key) != 8 || len(value) < publicationSize {
		return p, errLength
	}
	if err := checkSeal(key, value, 0); err != nil {
		return p, err
	}
	n := publicationSize + int(binary.BigEndian.Uint16(value[8:]))
	if len(value) < n {
		return p, errLength
	}
	if value[5] > retainFlag|releasedFlag|extrasFlag {
		return p, errFlags
	}
	p.message.QoS, p.message.Retain = frames.QoS(value[4]), value[5]&retainFlag != 0
	p.flight = flight{id: binary.BigEndian.Uint16(value[6:]), released: value[5]&releasedFlag != 0}
	p.topic, p.message.Payload = value[publicationSize:n], value[n:]
	if p.extras = value[5]&extrasFlag != 0; p.extras {
		return p, p.parseExtras()
	}
	return p, nil
}

// parseExtras cuts the fields of format 2 from the front of the payload.
func (p *publication) parseExtras() error {
	b := p.message.Payload
	if len(b) < extrasSize {
		return errLength
	}
	length := binary.BigEndian.Uint32(b)
	p.deadline, p.interval = int64(binary.BigEndian.Uint64(b[4:])), binary.BigEndian.Uint32(b[12:])
	b = b[extrasSize:]
	if uint64(length) > uint64(len(b)) {
		return errLength
	}
	p.block, p.message.Payload = b[:length:length], b[length:]
	return nil
}

// properties returns the properties, which do not refer to the value.
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
