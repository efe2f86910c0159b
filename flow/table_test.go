package flow

import "testing"

// Consecutive identifiers share no slot if at most half of the table is used:
//
//	16 slots, 8 used   . 1 2 3 4 5 6 7 8 . . . . . . .
//	the 9th doubles the table
func TestTableIsAtMostHalfFull(t *testing.T) {
	var tb table[int]
	for id := uint16(1); id <= 1000; id++ {
		*tb.force(id, 0) = int(id)
		if tb.used > 1 && 2*(tb.used-1) >= len(tb.slots) {
			t.Fatalf("%d of %d slots in use", tb.used, len(tb.slots))
		}
	}
	equal(t, "slots", len(tb.slots), 2048)
	for id := uint16(1); id <= 1000; id++ {
		if v := tb.find(id); v == nil || *v != int(id) {
			t.Fatalf("%d is lost", id)
		}
	}
}

func TestTableNeverGrowsPast65536(t *testing.T) {
	var tb table[struct{}]
	for id := 1; id <= 65_535; id++ {
		tb.force(uint16(id), struct{}{})
	}
	equal(t, "slots", len(tb.slots), tableMax)
	equal(t, "used", tb.used, 65_535)
}

func TestTableVisitsEachValueOnce(t *testing.T) {
	var tb table[int]
	for _, id := range []uint16{3, 19, 65_535, 1} {
		tb.force(id, int(id))
	}
	tb.remove(19)
	seen := map[uint16]int{}
	tb.each(func(id uint16, v *int) {
		seen[id]++
		equal(t, "value", *v, int(id))
	})
	if len(seen) != 3 || seen[3] != 1 || seen[65_535] != 1 || seen[1] != 1 {
		t.Errorf("visited %v", seen)
	}
}

func TestTableShrinksOnlyWhenEmpty(t *testing.T) {
	var tb table[int]
	for id := uint16(1); id <= 100; id++ {
		tb.force(id, 0)
	}
	tb.shrink()
	equal(t, "slots while in use", len(tb.slots), 256)
	for id := uint16(1); id <= 100; id++ {
		tb.remove(id)
	}
	tb.shrink()
	equal(t, "slots when empty", len(tb.slots), 0)
	if tb.find(1) != nil {
		t.Error("found in an empty table")
	}
	tb.remove(1)
	tb.force(1, 7)
	equal(t, "used", tb.used, 1)
}
