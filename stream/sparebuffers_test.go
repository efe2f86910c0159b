package stream

import "testing"

func TestASpareBufferIsUsedOnceAndOnlyForItsSize(t *testing.T) {
	var s spareBuffers
	s.put(make([]byte, 100))
	s.put(make([]byte, 200))
	if s.get(150) != nil || len(s.get(100)) != 100 || s.get(100) != nil || len(s.get(200)) != 200 || s.bytes != 0 {
		t.Errorf("%+v is left", s.free)
	}
}

func TestSpareBuffersAreBounded(t *testing.T) {
	var s spareBuffers
	for range 1000 {
		s.put(make([]byte, 10))
	}
	if len(s.free) != maxSpares || s.bytes != 10*maxSpares {
		t.Errorf("%d buffers, %d bytes", len(s.free), s.bytes)
	}
	s.put(make([]byte, maxSpareBytes+1))
	if len(s.free) != maxSpares {
		t.Error("a buffer above the bound took the place of others")
	}
	s.put(make([]byte, maxSpareBytes))
	if len(s.free) != 1 || s.bytes != maxSpareBytes {
		t.Errorf("%d buffers, %d bytes", len(s.free), s.bytes)
	}
	if s.drop(); len(s.free) != 0 || s.bytes != 0 {
		t.Error("drop leaves buffers")
	}
}
