package stream

// readBuffers count the memory of the read buffers in which waiting messages lie. A message keeps
// its whole buffer in memory, so the last few messages of many buffers would hold far more than
// they count with. Then the inboxes copy them.
//
// Invariant: charge is the sum of the sizes of all buffers with messages, live the sum of the
// payloads of these messages. Index 0 stands for no buffer.
type readBuffers struct {
	all     []readBuffer
	free    []int32
	current int32 // the buffer of the messages that arrive now; 0 until the first of them waits
	size    int   // its size in bytes
	charge  int
	live    int
}

type readBuffer struct {
	size     int // in bytes
	live     int // bytes of the payloads of waiting messages
	messages int // that wait
}

// sparse reports whether less than half of the buffer is used.
func (b *readBuffer) sparse() bool { return b.messages > 0 && 2*b.live < b.size }

// begin leaves the current buffer for a new one of this size.
func (r *readBuffers) begin(size int) {
	if i := r.current; i != 0 && r.all[i].messages == 0 {
		r.free = append(r.free, i)
	}
	r.current, r.size = 0, size
}

// hold counts a message with n bytes of payload in the current buffer, and returns the index of the
// buffer.
func (r *readBuffers) hold(n int) int32 {
	if n == 0 {
		return 0
	}
	if r.current == 0 {
		r.current = r.add(r.size)
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

// release forgets a message with n bytes of payload in buffer i.
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
		if i != r.current {
			r.free = append(r.free, i)
		}
	}
}

func (r *readBuffers) add(size int) int32 {
	if n := len(r.free); n > 0 {
		i := r.free[n-1]
		r.free = r.free[:n-1]
		r.all[i] = readBuffer{size: size}
		return i
	}
	if len(r.all) == 0 {
		r.all = append(r.all, readBuffer{})
	}
	r.all = append(r.all, readBuffer{size: size})
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
