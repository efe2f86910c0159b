package frames

import "io"

// Sizes of a Reader's buffer, in bytes.
const (
	minBuffer  = 1 << 10  // to begin with
	idleBuffer = 128      // after Shrink
	maxBuffer  = 64 << 10 // unless one frame is larger
	minRead    = 512      // room that makes a Read worth its system call
)

// maxEmptyReads is how many times in a row a source may return nothing and no error.
const maxEmptyReads = 100

// Reader cuts a byte stream into frames. One call of Fill reads once; Next then hands out, without copying, every
// frame that has arrived whole:
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
// The buffer starts at 1 KiB and doubles up to 64 KiB each time a read fills it. It outgrows that for a larger frame
// only, and only as the bytes of that frame arrive. A Reader belongs to one goroutine.
type Reader struct {
	src   io.Reader
	limit int // bytes of the largest frame accepted

	buf  []byte // written from the front; what Keep gave away is cut off
	r, w int    // buf[r:w] has arrived and has not been handed out
	size int    // bytes of the next buffer, between idleBuffer and maxBuffer
	full bool   // the last read filled buf

	empty int   // reads in a row that returned nothing
	err   error // came along with bytes, for the next Fill
}

// NewReader returns a Reader of src that accepts frames of at most limit bytes, fixed header included. A limit of 0 or
// less, or above MaxPacket, stands for MaxPacket.
func NewReader(src io.Reader, limit int) *Reader {
	if limit <= 0 || limit > MaxPacket {
		limit = MaxPacket
	}
	return &Reader{src: src, limit: limit, size: minBuffer}
}

// Next gives the next frame that has arrived whole; false asks for Fill. The error is a *ProtocolError or a
// *TooLargeError, comes as soon as the header shows it, and stays: nothing behind it can be read.
func (r *Reader) Next() (Frame, bool, error) {
	b := r.buf[r.r:r.w]
	if len(b) == 0 {
		return Frame{}, false, nil
	}
	head, size, err := measure(b)
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

// Fill calls Read of the source once, to be called when Next has returned false. Frames handed out before end here,
// unless kept. The error is that of the source: io.EOF between frames, io.ErrUnexpectedEOF in place of it inside one.
// An error that is not an end (a deadline) leaves the Reader as it was, ready to go on. A source that 100 times in a
// row returns nothing, not even an error, gets io.ErrNoProgress.
func (r *Reader) Fill() error {
	if err := r.err; err != nil {
		r.err = nil
		return r.ended(err)
	}
	r.makeRoom()
	n, err := r.src.Read(r.buf[r.w:])
	r.w += n
	r.full = r.w == len(r.buf)
	if n > 0 {
		r.empty, r.err = 0, err // the bytes come first, as io.Reader asks
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
	if err == io.EOF && r.r < r.w {
		return io.ErrUnexpectedEOF
	}
	return err
}

// makeRoom moves the frame that has arrived in part to the front of the buffer, or of a larger or a new one.
func (r *Reader) makeRoom() {
	arrived := r.buf[r.r:r.w]
	missing := MaxPacket // bytes until the next frame is whole, as far as its header tells
	if len(arrived) > 0 {
		if _, size, _ := measure(arrived); size > len(arrived) {
			missing = size - len(arrived)
		}
	}
	grow := r.full && r.size < maxBuffer
	if grow {
		r.size *= 2
	}
	outgrown := len(arrived) == 0 && len(r.buf) > maxBuffer // held one large frame, which is gone
	least := min(minRead, r.size)
	if room := len(r.buf) - len(arrived); room < min(missing, least) || grow || outgrown {
		// Twice what has arrived: the announced size is not believed before the bytes are there.
		r.buf = make([]byte, max(r.size, len(arrived)+min(missing, max(len(arrived), least))))
		copy(r.buf, arrived)
	} else if r.r > 0 {
		copy(r.buf, arrived)
	}
	r.r, r.w = 0, len(arrived)
}

// Keep leaves the frames handed out since the last Fill to those who hold them: their memory is never written again.
// The Reader goes on in the rest of its buffer while that is of use, then in a new one. So the frames of one buffer
// hold each other in memory; nothing is copied but a frame cut by its end.
func (r *Reader) Keep() {
	r.buf = r.buf[r.r:]
	r.r, r.w = 0, r.w-r.r
}

// Shrink gives an empty buffer back, so that a connection with nothing to say holds little memory; the next Fill
// starts with 128 bytes. A buffer with part of a frame in it stays.
func (r *Reader) Shrink() {
	if r.r == r.w {
		r.buf, r.r, r.w, r.size, r.full = nil, 0, 0, idleBuffer, false
	}
}

// Buffered is the number of bytes that have arrived and have not been handed out.
func (r *Reader) Buffered() int { return r.w - r.r }

// ReadFrame reads until one frame is whole. The frame is kept: it is the caller's for ever, uncopied. Errors are those
// of Next and Fill. It is for brokers and tests, which take one packet at a time.
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
