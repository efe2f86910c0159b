package stream

import (
	"slices"
	"sync"
)

// spareBuffers are read buffers that may be used again. The inboxes put them here, and the reader
// gets them.
//
// Invariant: nobody else uses a buffer in free. They have at most maxSpareBytes together.
type spareBuffers struct {
	mu    sync.Mutex
	free  [][]byte // the oldest first
	bytes int
}

const (
	maxSpares     = 64
	maxSpareBytes = maxSpares << 16
)

// get returns a buffer of the size, which now belongs to the caller, or nil.
func (s *spareBuffers) get(size int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.free) - 1; i >= 0; i-- {
		if b := s.free[i]; len(b) == size {
			s.free = slices.Delete(s.free, i, i+1)
			s.bytes -= size
			return b
		}
	}
	return nil
}

// put takes over a buffer. When there are too many, the oldest ones are left to the garbage
// collector.
func (s *spareBuffers) put(b []byte) {
	if len(b) > maxSpareBytes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, b)
	s.bytes += len(b)
	n := 0
	for ; len(s.free)-n > maxSpares || s.bytes > maxSpareBytes; n++ {
		s.bytes -= len(s.free[n])
	}
	s.free = slices.Delete(s.free, 0, n)
}

// drop leaves all buffers to the garbage collector.
func (s *spareBuffers) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free, s.bytes = nil, 0
}
