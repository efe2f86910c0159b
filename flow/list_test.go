package flow

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestListAgreesWithASlice(t *testing.T) {
	randomly(t, 100, func(t *testing.T, rnd *rand.Rand) {
		e := make([]links, 20)
		var l list
		var model []int32
		for range 100 {
			i := int32(1 + rnd.IntN(len(e)-1))
			at := slices.Index(model, i)
			switch {
			case at >= 0:
				l.remove(e, i)
				model = slices.Delete(model, at, at+1)
			case len(model) == 0 || rnd.IntN(2) == 0:
				l.pushBack(e, i)
				model = append(model, i)
			default:
				at = rnd.IntN(len(model))
				l.insertBefore(e, i, model[at])
				model = slices.Insert(model, at, i)
			}
			var forward, back []int32
			for i := l.head; i != 0; i = e[i].next {
				forward = append(forward, i)
			}
			for i := l.tail; i != 0; i = e[i].prev {
				back = append(back, i)
			}
			slices.Reverse(back)
			if !slices.Equal(forward, model) || !slices.Equal(back, model) {
				t.Fatalf("forward %v, back %v, want %v", forward, back, model)
			}
		}
	})
}
