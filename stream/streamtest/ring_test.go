package streamtest

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestRingIsAQueueWhateverTheSteps(t *testing.T) {
	const limit = 5000
	rnd := rand.New(rand.NewPCG(1, 2))
	var r ring
	var model []byte
	var next byte
	for range 20_000 {
		if rnd.IntN(2) == 0 {
			p := make([]byte, rnd.IntN(limit-r.n+1))
			for i := range p {
				p[i] = next
				next++
			}
			r.write(p, limit)
			model = append(model, p...)
		} else {
			p := make([]byte, rnd.IntN(2*limit))
			n := r.read(p)
			if want := min(len(p), len(model)); n != want || !bytes.Equal(p[:n], model[:want]) {
				t.Fatalf("read %d bytes, want %d, or the bytes differ", n, want)
			}
			model = model[n:]
		}
		if r.n != len(model) || len(r.buf) > limit {
			t.Fatalf("ring of %d holds %d bytes, want %d", len(r.buf), r.n, len(model))
		}
	}
}

func TestRingTakesMemoryOnlyForItsBytes(t *testing.T) {
	var r ring
	if r.write([]byte("x"), 0); len(r.buf) != firstBuffer {
		t.Errorf("one byte took %d bytes of memory, want %d", len(r.buf), firstBuffer)
	}
	r.write(make([]byte, 10*keepBuffer), 0)
	if r.read(make([]byte, 20*keepBuffer)); r.buf != nil {
		t.Errorf("emptied after a flood, it keeps %d bytes", len(r.buf))
	}
}
