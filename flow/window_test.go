package flow

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A window of 2, in which a and b are outstanding. The connection is lost, and both keep their
// identifiers.
//
//	[a b]    full
//	 a[b .]  b is sent again first, since a has ended
func TestALostConnectionEmptiesTheWindowAndKeepsTheIdentifiers(t *testing.T) {
	w := window{size: 2, ids: new(Identifiers)}
	a, _ := w.assign(1)
	w.add()
	b, _ := w.assign(2)
	w.add()
	equal(t, "full with two of two", w.full(), true)
	w.reset()
	equal(t, "full on the next connection", w.full(), false)
	w.freeID(a, false)
	w.add()
	equal(t, "full with one of two", w.full(), false)
	if i, ok := w.slot(b); !ok || i != 2 {
		t.Errorf("the identifier of b is that of slot %d, %v", i, ok)
	}
	if _, ok := w.slot(a); ok {
		t.Error("a keeps its identifier")
	}
	equal(t, "claimed in use", w.claim(b, 3), false)
	equal(t, "in flight", w.assigned(), 1)
}

func TestAnIdentifierOfAnotherPacketFindsNoPublication(t *testing.T) {
	w := window{size: 2, ids: new(Identifiers)}
	w.ids.Claim(7, -1) // of a SUBSCRIBE
	equal(t, "reserved for a publication that was given up", w.reserve(8), true)
	for _, id := range []uint16{0, 7, 8, 9} {
		if i, ok := w.slot(id); ok {
			t.Errorf("identifier %d is that of slot %d", id, i)
		}
	}
	equal(t, "claimed while it is reserved", w.claim(8, 1), false)
	w.release(8)
	equal(t, "claimed after the release", w.claim(8, 1), true)
	w.shrink()
	equal(t, "assigned", w.assigned(), 1)
	if i, ok := w.slot(8); !ok || i != 1 {
		t.Errorf("identifier 8 is that of slot %d, %v", i, ok)
	}
}

// The model has the slot of each identifier in flight, and whether the publication is outstanding.
func TestWindowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 4).Draw(t, "size")
		w := window{size: size, ids: new(Identifiers)}
		model, slots := map[uint16]bool{}, map[uint16]int32{}
		some := func(t *rapid.T, added bool) (id uint16, ok bool) {
			var ids []uint16
			for id, a := range model {
				if a == added {
					ids = append(ids, id)
				}
			}
			if len(ids) == 0 {
				return 0, false
			}
			slices.Sort(ids)
			return rapid.SampledFrom(ids).Draw(t, "id"), true
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				added := 0
				for id, a := range model {
					if i, ok := w.slot(id); !ok || i != slots[id] {
						t.Fatalf("identifier %d is that of slot %d, %v", id, i, ok)
					}
					if a {
						added++
					}
				}
				if w.assigned() != len(model) || w.outstanding != added || w.full() != (added >= size) || w.ids.Len() != len(model) {
					t.Fatalf("%+v, want %d in flight, %d of them outstanding", w, len(model), added)
				}
			},
			"assign": func(t *rapid.T) {
				i := rapid.Int32Range(1, 9).Draw(t, "slot")
				id, ok := w.assign(i)
				if _, used := model[id]; !ok || used {
					t.Fatalf("assigned %d, %v", id, ok)
				}
				model[id], slots[id] = false, i
			},
			"add": func(t *rapid.T) {
				if id, ok := some(t, false); ok && !w.full() {
					w.add()
					model[id] = true
				}
			},
			"free": func(t *rapid.T) {
				added := rapid.Bool().Draw(t, "added")
				if id, ok := some(t, added); ok {
					w.freeID(id, added)
					delete(model, id)
				}
			},
			"resize": func(t *rapid.T) {
				size = rapid.IntRange(1, 4).Draw(t, "size")
				w.resize(size)
			},
			"lost": func(*rapid.T) {
				w.reset()
				for id := range model {
					model[id] = false
				}
			},
		})
	})
}
