package frames

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// readSkipping returns the frames of data. Frames above limit are skipped if they are PUBLISH.
func readSkipping(data, cuts []byte, limit int) (got []Frame, skipped int, err error) {
	r := NewReader(&cutter{data: data, cuts: cuts}, limit)
	for {
		f, ok, err := r.Next()
		if large := new(TooLargeError); errors.As(err, &large) {
			if f, ok, err = r.SkipPublish(); ok {
				skipped++
			}
		}
		switch {
		case err != nil:
			return got, skipped, err
		case ok:
			got = append(got, Frame{f.Header, bytes.Clone(f.Body)})
			continue
		}
		if err := r.Fill(); err != nil {
			return got, skipped, err
		}
	}
}

// U29
func TestAPublishOverTheLimitIsSkippedWithoutItsPayload(t *testing.T) {
	small := Publish{Message: Message{Topic: "a", Payload: []byte("small")}}
	for _, q := range []QoS{AtMostOnce, AtLeastOnce, ExactlyOnce} {
		for _, topic := range []string{"t", string(bytes.Repeat([]byte("t"), 300))} {
			large := Publish{Message: Message{Topic: topic, QoS: q, Payload: make([]byte, 3000)}, ID: 7}
			var data []byte
			for _, p := range []Publish{small, large, small, large, large, small} {
				data, _ = p.Append(data, V311)
			}
			for _, cuts := range [][]byte{{1}, {2, 3, 200}, {255}} {
				got, skipped, err := readSkipping(data, cuts, 100)
				if err != io.EOF || len(got) != 6 || skipped != 3 {
					t.Fatalf("%d frames, %d skipped, %v", len(got), skipped, err)
				}
				for i, f := range got {
					p, err := ParsePublish(f, V311, nil, nil)
					want := small
					if i == 1 || i == 3 || i == 4 {
						want = large
						want.Payload = nil
					}
					if q == AtMostOnce {
						want.ID = 0
					}
					if err != nil || p.Topic != want.Topic || p.ID != want.ID || !bytes.Equal(p.Payload, want.Payload) {
						t.Errorf("frame %d is %+v, %v", i, p, err)
					}
				}
			}
			if _, _, err := readSkipping(data[:len(data)-20], []byte{255}, 100); err != io.ErrUnexpectedEOF {
				t.Errorf("the end inside a skipped frame gives %v", err)
			}
		}
	}
}

func TestASkippedPublishNeedsNoMemory(t *testing.T) {
	const size = 200 << 20
	data := []byte{0x30, 0x80, 0x80, 0x80, 0x64, 0, 1, 't'} // a remaining length of 200 MiB
	src := io.MultiReader(bytes.NewReader(data), io.LimitReader(zeros{}, size-3), bytes.NewReader([]byte{0xD0, 0}))
	r := NewReader(src, 1000)
	skipped := false
	for {
		f, ok, err := r.Next()
		if err != nil {
			if f, ok, err = r.SkipPublish(); err != nil {
				t.Fatal(err)
			}
			skipped = skipped || ok
		}
		if ok && f.Type() == TypePingresp {
			break
		}
		if ok {
			continue
		}
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
	}
	if !skipped || len(r.buf) > maxBuffer {
		t.Errorf("skipped %t, with a buffer of %d bytes", skipped, len(r.buf))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// FuzzSkip requires that reading with a limit gives the frames of reading without one, except that
// each PUBLISH over the limit lacks its payload, up to the first fault.
func FuzzSkip(f *testing.F) {
	all, _ := stream(f, 0, 1, 130, 600)
	f.Add(all, []byte{1}, uint16(50))
	f.Add(all, []byte{1, 3, 200, 0}, uint16(3))
	f.Fuzz(func(t *testing.T, data, cuts []byte, limit uint16) {
		most := max(int(limit), 1)
		want, _, _ := readSkipping(data, cuts, 0)
		got, _, err := readSkipping(data, cuts, most)
		if large := new(TooLargeError); len(got) < len(want) && !errors.As(err, &large) {
			t.Fatalf("%d frames of %d: %v", len(got), len(want), err)
		}
		for i := range min(len(got), len(want)) {
			g, w := got[i], want[i]
			if w.Size() <= most {
				if g.Header != w.Header || !bytes.Equal(g.Body, w.Body) {
					t.Fatalf("frame %d is %x, want %x", i, g.Body, w.Body)
				}
				continue
			}
			if g.Header != w.Header || !bytes.HasPrefix(w.Body, g.Body) {
				t.Fatalf("frame %d is %x of %x", i, g.Body, w.Body)
			}
			p, errGot := ParsePublish(g, V311, nil, nil)
			q, errWant := ParsePublish(w, V311, nil, nil)
			if (errGot == nil) != (errWant == nil) || p.Topic != q.Topic || p.ID != q.ID || p.Payload != nil {
				t.Fatalf("frame %d parses to %+v, %v, want %+v, %v", i, p, errGot, q, errWant)
			}
		}
	})
}
