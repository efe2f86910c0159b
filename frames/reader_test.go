package frames

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"testing/iotest"
)

// A script is a source that answers each Read with its next step, which has bytes, an error, or
// both.
type script struct {
	steps []step
	reads int
	sizes []int // sizes of the buffers passed to Read
}

type step struct {
	data string
	err  error
}

func (s *script) Read(p []byte) (int, error) {
	s.reads++
	s.sizes = append(s.sizes, len(p))
	if len(s.steps) == 0 {
		return 0, io.EOF
	}
	now := s.steps[0]
	n := copy(p, now.data)
	if n < len(now.data) {
		s.steps[0].data = now.data[n:]
		return n, nil
	}
	s.steps = s.steps[1:]
	return n, now.err
}

func inSteps(parts ...string) *script {
	s := new(script)
	for _, part := range parts {
		s.steps = append(s.steps, step{data: part})
	}
	return s
}

// pieces splits s into parts of n bytes.
func pieces(s string, n int) (parts []string) {
	for ; len(s) > n; s = s[n:] {
		parts = append(parts, s[:n])
	}
	return append(parts, s)
}

// flood is an endless source that fills every buffer with the same bytes over and over.
type flood struct {
	bytes []byte
	at    int
}

func (f *flood) Read(p []byte) (n int, _ error) {
	for n < len(p) {
		c := copy(p[n:], f.bytes[f.at:])
		n, f.at = n+c, (f.at+c)%len(f.bytes)
	}
	return n, nil
}

// stream returns the encoding of packets with the given sizes, and the frames in it.
func stream(t testing.TB, sizes ...int) (all []byte, frames []Frame) {
	t.Helper()
	add := func(p Packet) {
		b := encode(t, p, V311)
		all = append(all, b...)
		frames = append(frames, Frame{b[0], b[len(b)-bodyLen(b):]})
	}
	for i, size := range sizes {
		add(Ack{Kind: TypePuback, ID: uint16(i + 1)})
		payload := bytes.Repeat([]byte{byte(i + 1)}, size)
		add(Publish{Message: Message{Topic: "a", Payload: payload, QoS: 1}, ID: uint16(i + 1)})
		add(Pingresp{})
	}
	return all, frames
}

func bodyLen(packet []byte) (n int) {
	for i, c := range packet[1:] {
		n |= int(c&0x7F) << (7 * i)
		if c < 0x80 {
			break
		}
	}
	return n
}

// readAll reads from r until the source ends, and returns copies of all frames.
func readAll(r *Reader) (frames []Frame, err error) {
	for {
		f, ok, err := r.Next()
		if err != nil {
			return frames, err
		}
		if ok {
			frames = append(frames, Frame{f.Header, bytes.Clone(f.Body)})
			continue
		}
		if err := r.Fill(); err != nil {
			return frames, err
		}
	}
}

func equalFrames(a, b []Frame) bool {
	return slices.EqualFunc(a, b, func(a, b Frame) bool { return a.Header == b.Header && bytes.Equal(a.Body, b.Body) })
}

// C10, M17.
func TestReaderFindsTheSameFramesWhereverTheStreamIsCut(t *testing.T) {
	all, want := stream(t, 0, 5, 120, 121, 130, 300)
	if got, err := readAll(NewReader(bytes.NewReader(all), 0)); err != io.EOF || !equalFrames(got, want) {
		t.Fatalf("whole: %d frames, %v", len(got), err)
	}
	if got, err := readAll(NewReader(iotest.OneByteReader(bytes.NewReader(all)), 0)); err != io.EOF || !equalFrames(got, want) {
		t.Fatalf("byte by byte: %d frames, %v", len(got), err)
	}
	for cut := range all {
		r := NewReader(inSteps(string(all[:cut]), string(all[cut:])), 0)
		if got, err := readAll(r); err != io.EOF || !equalFrames(got, want) {
			t.Fatalf("cut at %d: %d frames, %v", cut, len(got), err)
		}
	}
	// The frames have all sizes near the sizes of the buffer, so that they are cut at many
	// positions.
	all, want = stream(t, 400, 500, 600, 1000, 1024, 2000, 5000, 70_000, 3, 200_000, 1)
	for _, src := range []io.Reader{bytes.NewReader(all), iotest.HalfReader(bytes.NewReader(all)), iotest.OneByteReader(bytes.NewReader(all)), iotest.DataErrReader(bytes.NewReader(all))} {
		if got, err := readAll(NewReader(src, 0)); err != io.EOF || !equalFrames(got, want) {
			t.Fatalf("%T: %d of %d frames, %v", src, len(got), len(want), err)
		}
	}
}

func TestReaderHandsOutAllFramesOfOneRead(t *testing.T) {
	all, want := stream(t, 1, 2, 3, 4, 5)
	src := inSteps(string(all))
	r := NewReader(src, 0)
	if err := r.Fill(); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if _, ok, err := r.Next(); !ok || err != nil {
			t.Fatalf("frame %d: %t, %v", i, ok, err)
		}
	}
	if _, ok, err := r.Next(); ok || err != nil || r.Buffered() != 0 || src.reads != 1 {
		t.Errorf("%t, %v, %d bytes left, %d reads", ok, err, r.Buffered(), src.reads)
	}
}

func TestFillReadsOnce(t *testing.T) {
	all, _ := stream(t, 3000)
	src := inSteps(pieces(string(all), 1)...)
	r := NewReader(src, 0)
	for n := 1; n <= len(all); n++ {
		if err := r.Fill(); err != nil || src.reads != n {
			t.Fatalf("Fill %d: %d reads, %v", n, src.reads, err)
		}
		for ok := true; ok; {
			_, ok, _ = r.Next()
		}
	}
}

func TestReaderTellsAnEndBetweenFramesFromOneInside(t *testing.T) {
	all, want := stream(t, 5)
	whole := map[int]bool{0: true}
	for i, at := 0, 0; i < len(want); i++ {
		at += want[i].Size()
		whole[at] = true
	}
	for cut := range len(all) + 1 {
		_, err := readAll(NewReader(bytes.NewReader(all[:cut]), 0))
		want := io.ErrUnexpectedEOF
		if whole[cut] {
			want = io.EOF
		}
		if err != want {
			t.Errorf("ended at %d: %v, want %v", cut, err, want)
		}
	}
}

func TestReaderTakesBytesBeforeTheErrorThatCameWithThem(t *testing.T) {
	reset := errors.New("reset")
	src := &script{steps: []step{{"\x40\x02\x00\x01\xd0", reset}}}
	r := NewReader(src, 0)
	if f, err := ReadFrame(r); err != nil || f.Type() != TypePuback {
		t.Fatal(f, err)
	}
	if _, err := ReadFrame(r); err != reset || src.reads != 1 {
		t.Errorf("%v after %d reads", err, src.reads)
	}
}

func TestReaderGoesOnAfterADeadline(t *testing.T) {
	r := NewReader(&script{steps: []step{{"\x40\x02", nil}, {"", os.ErrDeadlineExceeded}, {"\x00\x01", nil}}}, 0)
	if _, err := ReadFrame(r); err != os.ErrDeadlineExceeded {
		t.Fatal(err)
	}
	if f, err := ReadFrame(r); err != nil || f.Type() != TypePuback {
		t.Error(f, err)
	}
}

func TestReaderGivesUpOnASourceThatReturnsNothing(t *testing.T) {
	src := &script{steps: slices.Repeat([]step{{}}, 1000)}
	r := NewReader(src, 0)
	if _, err := ReadFrame(r); err != io.ErrNoProgress || src.reads != 100 {
		t.Errorf("%v after %d reads", err, src.reads)
	}
	// A read that returns bytes resets the count.
	src.steps = slices.Concat(make([]step, 99), []step{{"\xd0", nil}}, make([]step, 99), []step{{"\x00", nil}})
	r = NewReader(src, 0)
	if f, err := ReadFrame(r); err != nil || f.Type() != TypePingresp {
		t.Error(f, err)
	}
}

func TestReaderTakesAFrameOfTheLimitAndNoByteMore(t *testing.T) {
	for _, size := range []int{4, 100, 129, 130, 16_386, 70_000} {
		b := encode(t, Publish{Message: Message{Topic: "a", Payload: make([]byte, size)}}, V311)
		if _, err := ReadFrame(NewReader(bytes.NewReader(b), len(b))); err != nil {
			t.Error(err)
		}
		_, err := ReadFrame(NewReader(bytes.NewReader(b), len(b)-1))
		var tooLarge *TooLargeError
		if !errors.As(err, &tooLarge) || *tooLarge != (TooLargeError{Size: len(b), Limit: len(b) - 1}) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	for _, limit := range []int{0, -1, MaxPacket + 1} {
		if r := NewReader(nil, limit); r.limit != MaxPacket {
			t.Errorf("limit %d became %d", limit, r.limit)
		}
	}
}
