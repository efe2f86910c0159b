package streamtest

const (
	// firstBuffer is what a ring allocates for its first byte; it doubles from there.
	firstBuffer = 512

	// keepBuffer is the most that an emptied ring holds on to: a flood must not stay in memory for ever.
	keepBuffer = 64 << 10
)

// ring is a queue of bytes that grows as it fills. The zero value is empty and has no memory.
type ring struct {
	buf  []byte
	head int // first byte
	n    int // bytes from there, round the end
}

// write appends p. limit is the most there will ever be, 0 when there is none.
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

// read takes as many bytes as fit into p.
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

// copyTo copies the first bytes, of which there are as many as p holds.
func (r *ring) copyTo(p []byte) {
	m := copy(p, r.buf[r.head:])
	copy(p[m:], r.buf)
}
