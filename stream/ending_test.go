package stream

import "testing"

// Shutdown waits for consumers, then for publications and for the writer. It never goes back.
func TestShutdownEndsWhenNothingIsLeft(t *testing.T) {
	var e ending
	steps := []struct {
		left progress
		want ending
	}{
		{progress{deliveries: 1, publications: 1, unwritten: true}, settling},
		{progress{deliveries: 0, publications: 1, unwritten: true}, emptying},
		{progress{deliveries: 5, publications: 0, unwritten: true}, emptying}, // deliveries count no more
		{progress{publications: 0}, over},
		{progress{publications: 9}, over},
	}
	if e.next(progress{}); e != running {
		t.Fatal("a session without Shutdown has ended")
	}
	e.advance(settling)
	for i, s := range steps {
		was := e
		if moved := e.next(s.left); e != s.want || moved != (e != was) {
			t.Fatalf("step %d leads from %d to %d, moved %t, want %d", i, was, e, moved, s.want)
		}
	}
}

func TestAnEndingNeverMovesBack(t *testing.T) {
	e := emptying
	if e.advance(settling); e != emptying {
		t.Errorf("it went back to %d", e)
	}
	if e.advance(over); e != over {
		t.Errorf("it stays at %d", e)
	}
}

func TestEachEndingHasItsPermissions(t *testing.T) {
	for e, want := range map[ending]struct{ delivers, accepts, waits bool }{
		running:   {true, true, false},
		finishing: {false, false, true},
		settling:  {false, true, true},
		emptying:  {false, false, true},
		over:      {false, false, false},
	} {
		if e.delivers() != want.delivers || e.accepts() != want.accepts || e.waits() != want.waits {
			t.Errorf("stage %d delivers %t, accepts %t, waits %t", e, e.delivers(), e.accepts(), e.waits())
		}
	}
}
