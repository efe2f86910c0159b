package frames

import (
	"bytes"
	"io"
	"runtime"
	"slices"
	"testing"
	"testing/iotest"
)

// M16: a header announces 256 MiB, within the limit or over the limit, and no byte follows.
func TestReaderDoesNotAllocateOnAHeaderAlone(t *testing.T) {
	for _, limit := range []int{MaxPacket, 1 << 20} {
		src := &script{steps: slices.Concat([]step{{"\x30\xff\xff\xff\x7f", nil}}, make([]step, 50))}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := NewReader(src, limit)
		_, err := ReadFrame(r)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Error("Next returned a frame")
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 16<<10 {
			t.Errorf("limit %d: %d bytes allocated", limit, got)
		}
		if len(r.buf) != minBuffer {
			t.Errorf("limit %d: a buffer of %d bytes", limit, len(r.buf))
		}
	}
}

func TestReaderGrowsForALargeFrameAsItArrives(t *testing.T) {
	large := encode(t, Publish{Message: Message{Topic: "a", Payload: make([]byte, 3<<20)}}, V311)
	all := append(large, encode(t, Pingresp{}, V311)...)
	for _, src := range []io.Reader{bytes.NewReader(all), iotest.HalfReader(bytes.NewReader(all))} {
		r := NewReader(src, 0)
		for {
			f, ok, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if f.Type() == TypePingresp {
				break
			}
			if ok && f.Size() != len(large) {
				t.Fatal(f.Size())
			}
			if err := r.Fill(); err != nil {
				t.Fatal(err)
			}
			if arrived := r.Buffered(); len(r.buf) > max(2*arrived, maxBuffer) {
				t.Fatalf("%T: a buffer of %d bytes for %d", src, len(r.buf), arrived)
			}
		}
		if len(r.buf) > maxBuffer {
			t.Errorf("%T: %d bytes stayed after the large frame", src, len(r.buf))
		}
	}
}

func TestReaderDoublesItsBufferWhileReadsFillIt(t *testing.T) {
	r := NewReader(&flood{bytes: []byte("\xd0\x00")}, 0)
	for _, want := range []int{1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 64 << 10} {
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
		if len(r.buf) != want || r.Buffered() != want {
			t.Errorf("buffer of %d bytes with %d in it, want %d", len(r.buf), r.Buffered(), want)
		}
		for ok := true; ok; {
			_, ok, _ = r.Next()
		}
	}
}

func TestReaderWithoutKeepAllocatesNothing(t *testing.T) {
	p := hotPublish(AtLeastOnce)
	b := slices.Concat(encode(t, p, V311), encode(t, Ack{Kind: TypePuback, ID: 1}, V311))
	r := NewReader(&flood{bytes: b}, 0)
	pull := func() {
		for range 100 {
			for ok := false; !ok; {
				if _, ok, _ = r.Next(); !ok {
					_ = r.Fill()
				}
			}
		}
	}
	for range 100 {
		pull() // repeated until the buffer has its full size
	}
	if n := testing.AllocsPerRun(100, pull); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Kept frames stay unchanged while the Reader reads on through cut frames, full buffers and large
// frames.
func TestKeptFramesStayUnchanged(t *testing.T) {
	var sizes []int
	for i := range 400 {
		sizes = append(sizes, i*37%900)
	}
	sizes = append(sizes, 70_000, 3, 100_000, 2000)
	all, want := stream(t, sizes...)
	for _, chunk := range []int{1, 7, 300, 511, 512, 513, 1500, 1 << 20} {
		r := NewReader(inSteps(pieces(string(all), chunk)...), 0)
		var kept []Frame
		for {
			f, ok, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				kept = append(kept, f)
				continue
			}
			r.Keep()
			if err := r.Fill(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if !equalFrames(kept, want) {
			t.Errorf("in reads of %d bytes the kept frames differ from the frames sent", chunk)
		}
		for _, f := range kept {
			if cap(f.Body) != len(f.Body) {
				t.Fatal("an append to a body would write into the next frame")
			}
		}
	}
}

func TestKeepGoesOnInTheRestOfTheBuffer(t *testing.T) {
	ack := string(encode(t, Ack{Kind: TypePuback, ID: 1}, V311))
	src := inSteps(slices.Repeat([]string{ack}, 300)...)
	r := NewReader(src, 0)
	for range 300 {
		if _, err := ReadFrame(r); err != nil {
			t.Fatal(err)
		}
	}
	// 128 reads of 4 bytes leave 512 bytes of the first kilobyte, enough for one more read.
	for i, want := range map[int]int{0: 1024, 1: 1020, 128: 512, 129: 1024, 130: 1020, 257: 512, 258: 1024} {
		if src.sizes[i] != want {
			t.Errorf("read %d had room for %d bytes, want %d", i, src.sizes[i], want)
		}
	}
}

func TestShrinkGivesAnEmptyBufferBack(t *testing.T) {
	r := NewReader(&flood{bytes: []byte("\xd0\x00")}, 0)
	drain := func() {
		for ok := true; ok; {
			_, ok, _ = r.Next()
		}
	}
	for range 8 {
		drain()
		_ = r.Fill()
	}
	if r.Shrink() || r.Buffered() != 64<<10 {
		t.Fatal("Shrink discarded bytes that had arrived, or says that it did")
	}
	drain()
	if !r.Shrink() || r.buf != nil {
		t.Error("Shrink did not release the buffer")
	}
	if err := r.Fill(); err != nil || len(r.buf) != idleBuffer {
		t.Errorf("then a buffer of %d bytes, %v", len(r.buf), err)
	}
}
