package stream

// readBuffers count the memory of the read buffers in which waiting messages lie. A message keeps
// its whole buffer in memory, so the last few messages of many buffers would hold far more than
// they count with. Then the inboxes copy them.
//
// A buffer is used again when no message in it waits or is lent. A message that a consumer may keep
// makes its buffer one that is never used again.
//
// Invariant: charge is the sum of the sizes of all buffers with waiting messages, live the sum of
// the payloads of these messages. A buffer in spares is in no other place. Index 0 stands for no
// buffer.
type readBuffers struct {
	all     []readBuffer
	free    []int32
	current int32  // the buffer of the messages that arrive now; 0 until the first of them waits
	size    int    // its size in bytes
	memory  []byte // the buffer itself; nil if it is never used again
	charge  int
	live    int
	spares  *spareBuffers
}

type readBuffer struct {
	size     int    // in bytes
	live     int    // bytes of the payloads of waiting messages
	messages int    // that wait
	lent     int    // messages that are lent to consumers
	memory   []byte // nil if the buffer is never used again
}

// sparse reports whether less than half of the buffer is used.
func (b *readBuffer) sparse() bool { return b.messages > 0 && 2*b.live < b.size }

// begin leaves the current buffer for a new one of this size. If the new one may be used again,
// memory is that buffer.
func (r *readBuffers) begin(size int, memory []byte) {
	left := r.current
	if left == 0 && r.memory != nil {
		r.spares.put(r.memory) // no message lies in it
	}
	r.current, r.size, r.memory = 0, size, memory
	r.retire(left)
}

// hold counts a message with n bytes of payload in the current buffer, and returns the index of the
// buffer.
func (r *readBuffers) hold(n int) int32 {
	if n == 0 {
		return 0
	}
	if r.current == 0 {
		r.current = r.add()
	}
	b := &r.all[r.current]
	if b.messages == 0 {
		r.charge += b.size
	}
	b.messages++
	b.live += n
	r.live += n
	return r.current
}

// release forgets a waiting message with n bytes of payload in buffer i, which nobody uses any
// more.
func (r *readBuffers) release(i int32, n int) {
	if i == 0 {
		return
	}
	b := &r.all[i]
	b.messages--
	b.live -= n
	r.live -= n
	if b.messages == 0 {
		r.charge -= b.size
		r.retire(i)
	}
}

// keep forgets a waiting message with n bytes of payload in buffer i, which goes to a consumer that
// may keep it.
func (r *readBuffers) keep(i int32, n int) {
	if i != 0 {
		r.all[i].memory = nil
	}
	r.release(i, n)
}

// lend forgets a waiting message with n bytes of payload in buffer i, and counts it as lent.
func (r *readBuffers) lend(i int32, n int) {
	if i != 0 {
		r.all[i].lent++
	}
	r.release(i, n)
}

// returned ends the loan of n messages in buffer i. If kept is set, they are still in use.
func (r *readBuffers) returned(i int32, n int, kept bool) {
	b := &r.all[i]
	b.lent -= n
	if kept {
		b.memory = nil
	}
	r.retire(i)
}

// retire frees the index of a buffer that is not in use any more, and lets the buffer be used
// again.
func (r *readBuffers) retire(i int32) {
	b := &r.all[i]
	if i == 0 || i == r.current || b.messages > 0 || b.lent > 0 {
		return
	}
	if b.memory != nil {
		r.spares.put(b.memory)
		b.memory = nil
	}
	r.free = append(r.free, i)
}

// add returns the index of the current buffer, which has no index yet.
func (r *readBuffers) add() int32 {
	memory := r.memory
	r.memory = nil
	if n := len(r.free); n > 0 {
		i := r.free[n-1]
		r.free = r.free[:n-1]
		r.all[i] = readBuffer{size: r.size, memory: memory}
		return i
	}
	r.all = append(r.all, readBuffer{size: r.size, memory: memory})
	return int32(len(r.all) - 1)
}

// unused returns how many bytes of the buffers hold no payload that waits.
func (r *readBuffers) unused() int {
	if r == nil {
		return 0
	}
	return max(0, r.charge-r.live)
}

const (
	// sparseBytes is how much unused memory is left alone. It keeps a consumer that is only a
	// little behind from paying for copies.
	sparseBytes = 128 << 10

	// compactBytes is the size of the buffers that messages are copied into.
	compactBytes = 64 << 10
)
