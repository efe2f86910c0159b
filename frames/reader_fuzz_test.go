package frames

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// naiveFrames splits data into frames by section 2.2. Its error tells whether data ends between two
// frames, inside a frame, or in an invalid header.
func naiveFrames(data []byte, limit int) (frames []Frame, end error) {
	bad := new(ProtocolError)
	for len(data) > 0 {
		header := data[0]
		switch header >> 4 {
		case 0, 15:
			return frames, bad
		case 3:
		case 6, 8, 10:
			if header&0b0111 != 0b0010 {
				return frames, bad
			}
		default:
			if header&0xF != 0 {
				return frames, bad
			}
		}
		size, n := 0, 1
		for ; ; n++ {
			if n == 5 {
				return frames, bad
			}
			if n == len(data) {
				return frames, io.ErrUnexpectedEOF
			}
			c := data[n]
			size |= int(c&0x7F) << (7 * (n - 1))
			if c&0x80 == 0 {
				if c == 0 && n > 1 {
					return frames, bad
				}
				n++
				break
			}
		}
		if n+size > limit {
			return frames, new(TooLargeError)
		}
		if n+size > len(data) {
			return frames, io.ErrUnexpectedEOF
		}
		frames = append(frames, Frame{header, data[n : n+size]})
		data = data[n+size:]
	}
	return frames, io.EOF
}

// FuzzReader takes two choices from cuts: the sizes of the reads, and which frames to keep.
func FuzzReader(f *testing.F) {
	all, _ := stream(f, 0, 1, 130, 600)
	f.Add(all, []byte{1}, uint16(0))
	f.Add(all, []byte{1, 3, 200, 0}, uint16(100))
	f.Add([]byte("\x30\x80\x80\x80\x80\x01"), []byte{2}, uint16(0))
	f.Add([]byte("\x30\xff\xff\xff\x7fabc"), []byte{255}, uint16(5))
	f.Add([]byte("HTTP/1.1 200 OK"), []byte{4}, uint16(5))
	f.Fuzz(func(t *testing.T, data, cuts []byte, limit uint16) {
		want, end := naiveFrames(data, max(int(limit), 1))
		r := NewReader(&cutter{data: data, cuts: cuts}, max(int(limit), 1))
		// got has copies of all frames. kept has the kept frames, and copies of the other frames.
		var got, kept []Frame
		var err error
		for turn := 0; err == nil; turn++ {
			var f Frame
			ok := true
			first := len(got)
			for ok {
				if f, ok, err = r.Next(); ok {
					got = append(got, Frame{f.Header, bytes.Clone(f.Body)})
					kept = append(kept, f)
				}
			}
			if len(cuts) > 0 && cuts[turn%len(cuts)]&1 == 1 {
				r.Keep()
			} else {
				kept = append(kept[:first], got[first:]...)
			}
			if err == nil {
				err = r.Fill()
			}
		}
		if !equalFrames(got, want) {
			t.Errorf("%d frames, want %d", len(got), len(want))
		}
		if !equalFrames(kept, want) {
			t.Error("a kept frame was overwritten")
		}
		var violation *ProtocolError
		var tooLarge *TooLargeError
		switch end.(type) {
		case *ProtocolError:
			if !errors.As(err, &violation) {
				t.Errorf("ended with %v, want a violation", err)
			}
		case *TooLargeError:
			if !errors.As(err, &tooLarge) {
				t.Errorf("ended with %v, want too large", err)
			}
		default:
			if err != end {
				t.Errorf("ended with %v, want %v", err, end)
			}
		}
	})
}

// cutter is a source that returns data in reads of the sizes in cuts, in turn.
type cutter struct {
	data, cuts []byte
	turn       int
}

func (c *cutter) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := len(c.data)
	if len(c.cuts) > 0 {
		n = int(c.cuts[c.turn%len(c.cuts)]) + 1
		c.turn++
	}
	n = copy(p, c.data[:min(n, len(c.data))])
	c.data = c.data[n:]
	return n, nil
}
