package streamtest

const (
	// firstBuffer is the first allocation of a ring. Each later allocation doubles the size.
	firstBuffer = 512

	// keepBuffer is the largest buffer that an emptied ring keeps, so that a flood does not stay in
	// memory.
	keepBuffer = 64 << 10
)

// ring is a queue of bytes that grows as it fills. The zero value is empty and has no memory.
type ring struct {
	buf  []byte
	head int // first byte
	n    int // number of bytes from head on; they may wrap around the end of buf
}

// write appends p. The parameter limit is the largest allowed size of the ring; 0 means no limit.
func (r *ring) write(p []byte, limit int) {
	if need := r.n + len(p); need > len(r.buf) {
		size := max(firstBuffer, 2*len(r.buf), need)
		if limit > 0 {
			size = min(size, limit)
		}
		buf := make([]byte, size)
		r.copyTo(buf[:r.n])
		r.buf, r.head = buf, 0
	}
	tail := (r.head + r.n) % len(r.buf)
	m := copy(r.buf[tail:], p)
	copy(r.buf, p[m:])
	r.n += len(p)
}

// read moves bytes from the ring to p until p is full or the ring is empty.
func (r *ring) read(p []byte) int {
	n := min(len(p), r.n)
	if n == 0 {
		return 0
	}
	r.copyTo(p[:n])
	r.n -= n
	r.head = (r.head + n) % len(r.buf)
	if r.n == 0 {
		r.head = 0
		if len(r.buf) > keepBuffer {
			r.buf = nil
		}
	}
	return n
}

// copyTo copies the first len(p) bytes, without removing them.
func (r *ring) copyTo(p []byte) {
	m := copy(p, r.buf[r.head:])
	copy(p[m:], r.buf)
}
