package frames

import "fmt"

// Frame is one control packet in the read buffer. Header is its first byte, and Body has the bytes
// after the remaining length. Body is valid until the next Fill of its Reader; Keep makes it valid
// for ever.
type Frame struct {
	Header byte
	Body   []byte
}

// Type returns the type of the packet (section 2.2.1).
func (f Frame) Type() Type { return Type(f.Header >> 4) }

// Size returns the size of the whole packet in bytes, fixed header included.
func (f Frame) Size() int {
	n := 2 + len(f.Body)
	for rest := len(f.Body) >> 7; rest > 0; rest >>= 7 {
		n++
	}
	return n
}

// possible[b] reports whether some version of MQTT has a packet that begins with the byte b. With
// it the Reader rejects other protocols at their first byte, such as the H of HTTP or the 0x15 of a
// TLS alert.
var possible = func() (ok [256]bool) {
	for t := TypeConnect; t <= TypeAuth; t++ {
		ok[t.first()] = true
		if t.hasDUP(V31) {
			ok[t.first()|flagDUP] = true
		}
	}
	for flags := range 16 {
		ok[int(TypePublish)<<4|flags] = true // ParsePublish checks the flags
	}
	return ok
}()

// measure reads the fixed header at the front of b and returns the sizes of the header and of the
// whole frame, in bytes. Both are 0 while the header is incomplete. b must not be empty.
func measure(b []byte) (head, size int, err error) {
	if !possible[b[0]] {
		return 0, 0, impossible(b[0])
	}
	if len(b) > 1 && b[1] < 0x80 {
		return 2, 2 + int(b[1]), nil
	}
	remaining := 0
	for i, c := range b[1:min(len(b), 5)] {
		remaining |= int(c&0x7F) << (7 * i)
		if c >= 0x80 {
			continue
		}
		if c == 0 && i > 0 {
			return 0, 0, malformed(Type(b[0]>>4), "remaining length in more bytes than it needs")
		}
		return 2 + i, 2 + i + remaining, nil
	}
	if len(b) >= 5 {
		return 0, 0, malformed(Type(b[0]>>4), "remaining length in more than 4 bytes")
	}
	return 0, 0, nil
}

// expect returns an error if the frame is not of type t or has flags that t does not have in
// version v. Do not call it for PUBLISH, where every flag has a meaning.
func (f Frame) expect(t Type, v Version) error {
	first := f.Header
	if t.hasDUP(v) {
		first &^= flagDUP
	}
	if first == t.first() {
		return nil
	}
	if f.Type() != t {
		return unexpected(f, t)
	}
	// [MQTT-2.2.2-2] invalid flags end the connection.
	return reservedFlags(f.Header)
}

// unexpected returns the error for a frame that came where its parser expects type t.
func unexpected(f Frame, t Type) error {
	if !f.Type().known() {
		return reservedType(f.Header)
	}
	return violation(f.Type(), "came in place of "+t.String())
}

func reservedType(header byte) *ProtocolError {
	return malformed(0, fmt.Sprintf("packet type %d is reserved", header>>4))
}

func reservedFlags(header byte) *ProtocolError {
	return malformed(Type(header>>4), fmt.Sprintf("reserved flags %04b", header&0xF))
}

// impossible returns the error for a first byte that no packet begins with. The error leaves out
// the bytes that follow, because they may be a payload.
func impossible(first byte) error {
	if Type(first >> 4).known() {
		return reservedFlags(first)
	}
	return reservedType(first)
}
