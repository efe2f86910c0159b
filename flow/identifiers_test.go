package flow

import (
	"math/rand/v2"
	"testing"
)

func acquire(t *testing.T, x *Identifiers, ref int32) uint16 {
	t.Helper()
	id, ok := x.Acquire(ref)
	if !ok {
		t.Fatal("no identifier left")
	}
	return id
}

func TestIdentifiersRotateSoThatAReleasedOneComesLast(t *testing.T) {
	var x Identifiers
	for want := uint16(1); want <= 5; want++ {
		equal(t, "identifier", acquire(t, &x, 0), want)
	}
	x.Release(2)
	x.Release(3)
	equal(t, "identifier after two releases", acquire(t, &x, 0), 6)
	equal(t, "in use", x.Len(), 4)
}

func TestIdentifierAfter65535Is1AndSkipsThoseInUse(t *testing.T) {
	var x Identifiers
	for _, id := range []uint16{1, 3, 65_534} {
		if !x.Claim(id, 0) {
			t.Fatalf("%d is not free", id)
		}
	}
	for _, want := range []uint16{65_535, 2, 4, 5} {
		equal(t, "identifier", acquire(t, &x, 0), want)
	}
}

// Acquire and AcquireHigh return the same identifier only after all others are in use. Each of the
// two rotates on its own.
func TestIdentifiersFromTheHighEndRotateDownwards(t *testing.T) {
	var x Identifiers
	high := func() uint16 {
		t.Helper()
		id, ok := x.AcquireHigh(-1)
		if !ok {
			t.Fatal("no identifier left")
		}
		return id
	}
	for _, want := range []uint16{65_535, 65_534} {
		equal(t, "high identifier", high(), want)
	}
	equal(t, "low identifier", acquire(t, &x, 0), 1)
	x.Release(65_535)
	x.Claim(65_533, 0)
	equal(t, "high identifier after a release, past one in use", high(), 65_532)
	for range 65_535 - 4 {
		high()
	}
	equal(t, "in use", x.Len(), 65_535)
	if id, ok := x.AcquireHigh(-1); ok {
		t.Fatalf("identifier %d out of nothing", id)
	}
	x.Release(1)
	equal(t, "the only free identifier", high(), 1)
	x.Release(65_000)
	x.Release(2)
	equal(t, "high identifier below 1", high(), 65_000)
}

// E1: with 65,535 in flight the next publication waits.
func TestAll65535IdentifiersCanBeInUseAndNoneTwice(t *testing.T) {
	var x Identifiers
	seen := make([]bool, 1<<16)
	for i := range 65_535 {
		id := acquire(t, &x, int32(i))
		if id == 0 || seen[id] {
			t.Fatalf("identifier %d was assigned twice, or is 0", id)
		}
		seen[id] = true
	}
	if id, ok := x.Acquire(1); ok {
		t.Fatalf("identifier %d out of nothing", id)
	}
	x.Release(40_000)
	equal(t, "the only free identifier", acquire(t, &x, 7), 40_000)
	if ref, ok := x.Lookup(40_000); !ok || ref != 7 {
		t.Errorf("the reference of 40,000 is %d, %v", ref, ok)
	}
	if _, ok := x.Acquire(1); ok {
		t.Error("an identifier out of nothing")
	}
}

func TestIdentifierRunOf70000NeverMeetsTheOnesHeld(t *testing.T) {
	var x Identifiers
	held := map[uint16]bool{}
	for range 3 { // identifiers that are never released
		held[acquire(t, &x, -1)] = true
	}
	window := make([]uint16, 0, 20)
	last := uint16(3)
	for step := range 70_000 {
		if len(window) == cap(window) {
			x.Release(window[0])
			window = append(window[:0], window[1:]...)
		}
		id := acquire(t, &x, int32(step+1))
		if id == 0 || held[id] {
			t.Fatalf("step %d: identifier %d", step, id)
		}
		if id < last && last < 65_000 {
			t.Fatalf("step %d: %d after %d does not rotate", step, id, last)
		}
		window, last = append(window, id), id
	}
	if n := len(x.table.slots); n > 128 {
		t.Errorf("a table of %d slots for 23 identifiers", n)
	}
}

func TestClaimRefusesZeroAndIDsInUse(t *testing.T) {
	var x Identifiers
	equal(t, "claim of 0", x.Claim(0, 1), false)
	equal(t, "claim of 9", x.Claim(9, 1), true)
	equal(t, "claim of 9 again", x.Claim(9, 2), false)
	if ref, ok := x.Lookup(9); !ok || ref != 1 {
		t.Errorf("the reference of 9 is %d, %v", ref, ok)
	}
	equal(t, "in use", x.Len(), 1)
}

func TestClaimOfCollidingIdentifiersGrowsUntilAllFit(t *testing.T) {
	var x Identifiers
	for i := range uint16(5) { // they share a slot in every table shorter than 65,536
		if !x.Claim(1+i<<13, int32(i)) {
			t.Fatal("rejected")
		}
	}
	for i := range uint16(5) {
		if ref, ok := x.Lookup(1 + i<<13); !ok || ref != int32(i) {
			t.Errorf("the reference of %d is %d, %v", 1+i<<13, ref, ok)
		}
	}
}

// A stored session whose identifiers wrap continues after its newest identifier.
func TestClaimsAcrossTheWrapGoOnBehindTheLastOne(t *testing.T) {
	var x Identifiers
	for _, id := range []uint16{65_533, 65_535, 2, 5} {
		x.Claim(id, 1)
	}
	equal(t, "identifier", acquire(t, &x, 1), 6)
}

func TestReleaseOfAFreeIdentifierHasNoEffect(t *testing.T) {
	var x Identifiers
	x.Release(0)
	x.Release(1)
	id := acquire(t, &x, 1)
	x.Release(id + 16) // shares the slot of id in the table
	equal(t, "in use", x.Len(), 1)
	if _, ok := x.Lookup(id); !ok {
		t.Error("the identifier is no longer in use")
	}
	if _, ok := x.Lookup(0); ok {
		t.Error("0 has a reference")
	}
}

func TestIdentifiersAgreeWithAMap(t *testing.T) {
	randomly(t, 300, func(t *testing.T, rnd *rand.Rand) {
		var x Identifiers
		model := map[uint16]int32{}
		x.last = uint16(rnd.IntN(1 << 16))
		limit := 1 << rnd.IntN(9)
		for step := range 400 {
			id := uint16(rnd.IntN(1 << 16))
			if rnd.IntN(2) == 0 {
				id = x.last - uint16(rnd.IntN(2*limit))
			}
			ref := int32(step)
			switch op := rnd.IntN(10); {
			case op < 5 && len(model) < limit:
				id, ok := x.Acquire(ref)
				if _, used := model[id]; used || !ok || id == 0 {
					t.Fatalf("acquired %d, %v", id, ok)
				}
				model[id] = ref
			case op < 6:
				_, used := model[id]
				if got, want := x.Claim(id, ref), !used && id != 0; got != want {
					t.Fatalf("claim of %d: %v, want %v", id, got, want)
				} else if got {
					model[id] = ref
				}
			case op == 9 && rnd.IntN(20) == 0:
				x.table.shrink()
			default:
				x.Release(id)
				delete(model, id)
			}
			got, ok := x.Lookup(id)
			if want, used := model[id]; ok != used || got != want || x.Len() != len(model) {
				t.Fatalf("the reference of %d is %d, %v, want %d, %v; in use %d, want %d",
					id, got, ok, want, used, x.Len(), len(model))
			}
		}
		for id, want := range model {
			if got, ok := x.Lookup(id); !ok || got != want {
				t.Fatalf("the reference of %d is %d, %v, want %d", id, got, ok, want)
			}
		}
	})
}
