package streamtest

import (
	"io"
	"math"
	"net"
	"os"
	"sync"
	"syscall"
)

// half is one direction of a connection. It waits on conditions, not on channels, because a wait on
// a condition allocates nothing and also counts as durably blocked in a synctest bubble.
type half struct {
	mu       sync.Mutex
	readable sync.Cond // signals bytes, an end, or a new read deadline
	writable sync.Cond // signals room, an end, or a new write deadline

	// Bytes written and not yet read. All fields from here on are guarded by mu.
	ring  ring
	limit int // largest number of bytes in ring; 0: no limit

	// Positions in the stream, ascending. No single Read crosses a cut.
	cuts []int64

	line    line     // delays the bytes in ring
	arrival deadline // wakes the reader when the next segment arrives

	// The state of the direction.
	writerClosed bool // reads return the unread bytes, then io.EOF
	readerClosed bool // writes get EPIPE
	reset        bool // reads and writes get ECONNRESET
	stalled      bool // writes wait, even if the buffer is empty
	writing      bool // a Write is between two parts of its bytes; other Writes must wait

	readBy  deadline
	writeBy deadline

	// Counters since the start.
	reads, writes int   // calls
	got, put      int64 // bytes: the positions of reader and writer in the stream
}

func newHalf(limit int) *half {
	h := &half{limit: limit}
	h.readable.L = &h.mu
	h.writable.L = &h.mu
	h.readBy.cond = &h.readable
	h.arrival.cond = &h.readable
	h.writeBy.cond = &h.writable
	return h
}

// read returns bytes that have arrived, at most up to the next cut. It waits if there are none.
func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads++
	for {
		switch {
		case h.readerClosed:
			return 0, net.ErrClosed
		case h.reset:
			return 0, os.NewSyscallError("read", syscall.ECONNRESET)
		case h.readBy.passed(): // like a socket, even if bytes are buffered
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case h.arrived() > 0:
			return h.take(p), nil
		case h.writerClosed && h.ring.n == 0:
			return 0, io.EOF
		}
		h.arrival.at = h.line.next()
		h.arrival.arm()
		h.readBy.wait()
	}
}

// write waits until all of p is in the buffer. If an error stops it, it returns that error with the
// number of bytes buffered.
func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes++
	for h.writing && h.broken() == nil {
		h.writeBy.wait()
	}
	if err := h.broken(); err != nil {
		return 0, err
	}
	if n = h.add(p); n == len(p) {
		return n, nil
	}
	h.writing = true
	defer func() {
		h.writing = false
		h.writable.Broadcast()
	}()
	for n < len(p) {
		h.writeBy.wait()
		if err := h.broken(); err != nil {
			return n, err
		}
		n += h.add(p[n:])
	}
	return n, nil
}

// broken returns the error that prevents a write, or nil.
func (h *half) broken() error {
	switch {
	case h.writerClosed:
		return net.ErrClosed
	case h.reset:
		return os.NewSyscallError("write", syscall.ECONNRESET)
	case h.readerClosed:
		return os.NewSyscallError("write", syscall.EPIPE)
	case h.writeBy.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// arrived returns the number of bytes in the buffer that the line has passed on.
func (h *half) arrived() int { return int(h.line.receive(h.put) - h.got) }

// take moves bytes that have arrived to p. There must be some.
func (h *half) take(p []byte) int {
	p = p[:min(len(p), h.arrived())]
	if len(h.cuts) > 0 {
		p = p[:min(int64(len(p)), h.cuts[0]-h.got)]
	}
	n := h.ring.read(p)
	h.got += int64(n)
	if len(h.cuts) > 0 && h.cuts[0] == h.got {
		h.cuts = h.cuts[1:]
	}
	h.writable.Broadcast()
	return n
}

// add buffers the part of p for which there is room, and returns its length.
func (h *half) add(p []byte) int {
	n := min(len(p), h.room())
	if n > 0 {
		h.ring.write(p[:n], h.limit)
		h.line.add(h.put, n)
		h.put += int64(n)
		h.readable.Broadcast()
	}
	return n
}

func (h *half) room() int {
	switch {
	case h.stalled:
		return 0
	case h.limit == 0:
		return math.MaxInt - h.ring.n
	}
	return h.limit - h.ring.n
}

// cut ends a segment. No Read returns bytes from both sides of a cut.
func (h *half) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ring.n > 0 && (len(h.cuts) == 0 || h.cuts[len(h.cuts)-1] < h.put) {
		h.cuts = append(h.cuts, h.put)
	}
}

// slow sets the rate of the line for the bytes that are written from now on.
func (h *half) slow(rate int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line.rate = max(rate, 0)
}

// stall removes the room in the buffer or restores it.
func (h *half) stall(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stalled = on
	h.writable.Broadcast()
}

// await waits while n or more bytes are unread. It returns early if this direction has ended.
func (h *half) await(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.ring.n >= n && !h.writerClosed && !h.readerClosed && !h.reset {
		h.writable.Wait()
	}
}

// closeWriter and closeReader end the direction for the writing end or the reading end; abort ends
// it for both.
func (h *half) closeWriter() { h.end(func() { h.writerClosed = true; h.writeBy.stop() }) }
func (h *half) closeReader() {
	h.end(func() { h.readerClosed = true; h.drop(); h.readBy.stop(); h.arrival.stop() })
}
func (h *half) abort() { h.end(func() { h.reset = true; h.drop() }) }

func (h *half) end(mark func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	mark()
	h.readable.Broadcast()
	h.writable.Broadcast()
}

// drop discards the bytes that nobody will read.
func (h *half) drop() {
	h.ring, h.cuts = ring{}, nil
	h.line.drop()
}

func (h *half) unread() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ring.n
}

// quiet reports whether a Read would wait.
func (h *half) quiet() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.arrived() == 0 && (!h.writerClosed || h.ring.n > 0) && !h.readerClosed && !h.reset
}

// counts returns the calls of Read and Write so far, and the bytes written.
func (h *half) counts() (reads, writes int, bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reads, h.writes, h.put
}
