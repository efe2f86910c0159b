package frames

import "io"

// Sizes of a Reader's buffer, in bytes.
const (
	minBuffer  = 1 << 10  // of the first buffer
	idleBuffer = 128      // after Shrink
	maxBuffer  = 64 << 10 // unless a larger frame arrives
	minRead    = 512      // least free space for a read
)

// maxEmptyReads is the number of consecutive reads without bytes or an error at which Fill fails.
const maxEmptyReads = 100

// Reader splits a byte stream into frames. Each call of Fill reads once; Next then returns the
// complete frames, one at a time and without copying:
//
//	for {
//		f, ok, err := r.Next()
//		switch {
//		case err != nil:
//			return err
//		case ok:
//			handle(f)
//		default:
//			if err := r.Fill(); err != nil {
//				return err
//			}
//		}
//	}
//
// The buffer starts at 1 KiB and doubles, up to 64 KiB, each time a read fills it. It exceeds 64
// KiB only for a larger frame, and grows only as the bytes of that frame arrive. Only one goroutine
// at a time may use a Reader.
type Reader struct {
	src   io.Reader
	limit int // largest accepted frame, in bytes

	buf  []byte // filled from the front; Keep removes the bytes of kept frames
	r, w int    // buf[r:w] has arrived; Next has not returned it yet
	size int    // size of the next buffer, from idleBuffer to maxBuffer
	skip int    // bytes of a skipped frame that have not arrived yet

	buffers int                   // used so far
	whole   []byte                // the last one, whose rest buf may be
	supply  func(size int) []byte // nil makes each buffer

	auth  bool  // AUTH is accepted
	full  bool  // the last read filled buf
	empty uint8 // consecutive reads that returned neither bytes nor an error
	err   error // the source returned it together with bytes; the next Fill returns it
}

// NewReader returns a Reader of src that accepts frames of at most limit bytes, fixed header
// included. A limit of 0 or less, or above MaxPacket, means MaxPacket.
func NewReader(src io.Reader, limit int) *Reader {
	if limit <= 0 || limit > MaxPacket {
		limit = MaxPacket
	}
	return &Reader{src: src, limit: limit, size: minBuffer}
}

// SetVersion says which version of MQTT the stream has. The Reader accepts AUTH on MQTT 5 only.
func (r *Reader) SetVersion(v Version) { r.auth = v >= V5 }

// Supply sets where the Reader gets its buffers: supply returns size bytes that nobody else uses,
// or nil to let the Reader make them.
func (r *Reader) Supply(supply func(size int) []byte) { r.supply = supply }

// measure is the function measure, which also rejects AUTH before MQTT 5.
func (r *Reader) measure(b []byte) (head, size int, err error) {
	if Type(b[0]>>4) == TypeAuth && !r.auth {
		return 0, 0, reservedType(b[0])
	}
	return measure(b)
}

// Next returns the next complete frame. If it returns false, call Fill. The error is a
// *ProtocolError or a *TooLargeError. Next returns the error as soon as the header shows the fault.
// Every later call returns it too, because the stream cannot be read any further; only SkipPublish
// leads past a PUBLISH over the limit.
func (r *Reader) Next() (Frame, bool, error) {
	b := r.buf[r.r:r.w]
	if len(b) == 0 {
		return Frame{}, false, nil
	}
	head, size, err := r.measure(b)
	if err != nil {
		return Frame{}, false, err
	}
	if size > r.limit {
		return Frame{}, false, &TooLargeError{Size: size, Limit: r.limit}
	}
	if size == 0 || size > len(b) {
		return Frame{}, false, nil
	}
	r.r += size
	return Frame{Header: b[0], Body: b[head:size:size]}, true, nil
}

// SkipPublish drops a PUBLISH over the limit, whose *TooLargeError Next has returned. The frame
// that it returns lacks the payload: its body ends after the topic and the packet identifier. The
// payload is dropped as it arrives, and needs no memory. If SkipPublish returns false, call Fill,
// then Next. For any other packet it returns the error of Next.
func (r *Reader) SkipPublish() (Frame, bool, error) {
	b := r.buf[r.r:r.w]
	if len(b) == 0 {
		return Frame{}, false, nil
	}
	head, size, err := r.measure(b)
	switch {
	case err != nil:
		return Frame{}, false, err
	case size == 0:
		return Frame{}, false, nil
	case size > r.limit && Type(b[0]>>4) != TypePublish:
		return Frame{}, false, &TooLargeError{Size: size, Limit: r.limit}
	}
	need := min(head+2, size) // the length of the topic
	if len(b) >= need {
		need = min(publishHead(b, head), size)
	}
	if len(b) < need {
		return Frame{}, false, nil
	}
	arrived := min(len(b), size)
	r.r += arrived
	r.skip = size - arrived
	return Frame{Header: b[0], Body: b[head:need:need]}, true, nil
}

// publishHead returns how many bytes a PUBLISH has before its payload. head is the size of its
// fixed header.
func publishHead(b []byte, head int) int {
	c := cursor{b: b[head:]}
	n := head + 2 + int(c.uint16())
	if b[0]>>1&3 > 0 {
		n += 2
	}
	return n
}

// Fill calls Read of the source once. Call Fill when Next has returned false. It invalidates the
// frames returned before, except kept frames. It returns the error of the source, but
// io.ErrUnexpectedEOF for an io.EOF inside a frame. After an error that does not end the stream,
// such as a deadline, the Reader remains usable. If 100 reads in a row return neither bytes nor an
// error, Fill returns io.ErrNoProgress.
func (r *Reader) Fill() error {
	if err := r.err; err != nil {
		r.err = nil
		return r.ended(err)
	}
	r.makeRoom()
	n, err := r.src.Read(r.buf[r.w:])
	r.w += n
	r.full = r.w == len(r.buf)
	if r.skip > 0 {
		passed := min(r.skip, n)
		r.r += passed
		r.skip -= passed
	}
	if n > 0 {
		r.empty, r.err = 0, err // the bytes come first, as io.Reader requires
		return nil
	}
	if err != nil {
		return r.ended(err)
	}
	if r.empty++; r.empty >= maxEmptyReads {
		return io.ErrNoProgress
	}
	return nil
}

func (r *Reader) ended(err error) error {
	if err == io.EOF && (r.r < r.w || r.skip > 0) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// makeRoom moves an incomplete frame to the front of the buffer, or of a new buffer.
func (r *Reader) makeRoom() {
	arrived := r.buf[r.r:r.w]
	missing := MaxPacket // bytes until the next frame is complete, or MaxPacket if unknown
	if len(arrived) > 0 {
		if _, size, _ := measure(arrived); size > len(arrived) {
			missing = size - len(arrived)
		}
	}
	grow := r.full && r.size < maxBuffer
	if grow {
		r.size *= 2
	}
	outgrown := len(arrived) == 0 && len(r.buf) > maxBuffer // by a large frame that Next has returned
	least := min(minRead, r.size)
	if room := len(r.buf) - len(arrived); room < min(missing, least) || grow || outgrown {
		// At most twice the bytes that have arrived, because a header may announce bytes that never
		// come.
		r.buf = r.newBuffer(max(r.size, len(arrived)+min(missing, max(len(arrived), least))))
		r.buffers, r.whole = r.buffers+1, r.buf
		copy(r.buf, arrived)
	} else if r.r > 0 {
		copy(r.buf, arrived)
	}
	r.r, r.w = 0, len(arrived)
}

func (r *Reader) newBuffer(size int) []byte {
	if r.supply != nil {
		if b := r.supply(size); b != nil {
			return b
		}
	}
	return make([]byte, size)
}

// Keep makes the frames that were returned since the last Fill valid for ever: the Reader never
// writes to their memory again. The Reader continues in the free part of its buffer and allocates a
// new buffer when that part is too small. While one kept frame is in use, its whole buffer stays in
// memory. Only a frame that continues in the next buffer is copied.
func (r *Reader) Keep() {
	r.buf = r.buf[r.r:]
	r.r, r.w = 0, r.w-r.r
}

// Buffer returns the number of the present buffer, counted from 1, and the buffer. Kept frames keep
// it in memory, and share it with the other frames of the same number. When the number has changed
// and no frame of a buffer is in use, nobody uses the buffer.
func (r *Reader) Buffer() (number int, whole []byte) { return r.buffers, r.whole }

// Shrink releases an empty buffer, so that an idle connection holds little memory; the next Fill
// allocates 128 bytes. If the buffer holds part of a frame, Shrink does nothing and returns false.
func (r *Reader) Shrink() bool {
	if r.r < r.w {
		return false
	}
	r.buf, r.whole, r.r, r.w, r.size, r.full = nil, nil, 0, 0, idleBuffer, false
	return true
}

// Buffered returns the number of bytes that have arrived but were not yet returned by Next.
func (r *Reader) Buffered() int { return r.w - r.r }

// ReadFrame reads until a frame is complete and keeps the frame, so that the caller owns it without
// a copy. It returns the errors of Next and Fill. Brokers and tests use it to read one packet at a
// time.
func ReadFrame(r *Reader) (Frame, error) {
	for {
		f, ok, err := r.Next()
		if err != nil {
			return Frame{}, err
		}
		if ok {
			r.Keep()
			return f, nil
		}
		if err := r.Fill(); err != nil {
			return Frame{}, err
		}
	}
}
