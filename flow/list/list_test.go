package list

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Random steps on two lists in one slab. After every step each list is compared with a slice.
func TestListAgreesWithASlice(t *testing.T) {
	for range 100 {
		seed := rand.Uint64()
		rnd := rand.New(rand.NewPCG(seed, seed))
		e := make([]Links, 20)
		var lists [2]List
		var models [2][]int32
		for range 100 {
			i := int32(1 + rnd.IntN(len(e)-1))
			k := slices.IndexFunc(models[:], func(m []int32) bool { return slices.Contains(m, i) })
			if k >= 0 {
				lists[k].Remove(e, i)
				at := slices.Index(models[k], i)
				models[k] = slices.Delete(models[k], at, at+1)
				if e[i] != (Links{}) {
					t.Fatalf("seed %d: removed slot %d has links %v", seed, i, e[i])
				}
			} else {
				k = rnd.IntN(len(lists))
				l, model := &lists[k], &models[k]
				switch n := len(*model); {
				case rnd.IntN(3) == 0:
					l.PushBack(e, i)
					*model = append(*model, i)
				case rnd.IntN(2) == 0:
					l.PushFront(e, i)
					*model = slices.Insert(*model, 0, i)
				default:
					at, before := rnd.IntN(n+1), int32(0)
					if at < n {
						before = (*model)[at]
					}
					l.InsertBefore(e, i, before)
					*model = slices.Insert(*model, at, i)
				}
			}
			for k, l := range lists {
				var forward, back []int32
				for i := l.Head; i != 0; i = e[i].Next {
					forward = append(forward, i)
				}
				for i := l.Tail; i != 0; i = e[i].Prev {
					back = append(back, i)
				}
				slices.Reverse(back)
				if !slices.Equal(forward, models[k]) || !slices.Equal(back, models[k]) {
					t.Fatalf("seed %d: list %d forward %v, back %v, want %v", seed, k, forward, back, models[k])
				}
			}
		}
	}
}
