package logstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// scenario is a sequence of commits and the content of a store after each.
type scenario struct {
	commits [][]flow.Change
	after   []flow.Snapshot // after[i] is the content after i commits
}

// newScenario makes commits of different sizes. Some publications stay long, so that compaction
// must move them.
func newScenario(rnd *rand.Rand, n int) (s scenario) {
	model := flow.NewMemoryStore()
	content := func() flow.Snapshot {
		snap, err := model.Attach("a")
		if err != nil {
			panic(err)
		}
		_ = model.Detach()
		return snap
	}
	s.after = append(s.after, content())
	var live []uint64
	seq := uint64(0)
	for i := range n {
		var changes []flow.Change
		for range 1 + rnd.IntN(4) {
			seq++
			c := accepted(seq, fmt.Sprint(seq, strings.Repeat(" x", rnd.IntN(200))))
			if rnd.IntN(5) == 0 {
				c.Message.Properties = &frames.Properties{ContentType: "text"}
			}
			changes = append(changes, c, flow.Change{Kind: flow.Assigned, Seq: seq, ID: uint16(seq)})
			if live = append(live, seq); len(live) > 8 {
				k := rnd.IntN(8) // the oldest may stay
				changes = append(changes, flow.Change{Kind: flow.Completed, Seq: live[k]})
				live = append(live[:k], live[k+1:]...)
			}
		}
		if len(live) > 0 {
			changes = append(changes, flow.Change{Kind: flow.Released, Seq: live[rnd.IntN(len(live))]})
		}
		changes = append(changes, flow.Change{Kind: flow.ChangeKind(int(flow.Received) + rnd.IntN(2)), ID: uint16(rnd.IntN(5))})
		switch rnd.IntN(30) {
		case 0:
			changes, live = append(changes, flow.Change{Kind: flow.Cleared}), nil
		case 1:
			changes = append(changes, opened(""))
		}
		if i == 0 {
			changes = append(changes, opened("a"))
		}
		s.commits = append(s.commits, changes)
		_ = model.Commit(changes)
		s.after = append(s.after, content())
	}
	return s
}

// play commits until the store fails. It returns the number of commits that succeeded.
func (s *scenario) play(d *disk) (done int, opened bool) {
	store, err := openDisk(d)
	if err != nil {
		return 0, false
	}
	if _, err = store.Attach("a"); err != nil {
		return 0, true
	}
	for _, changes := range s.commits {
		if store.Commit(changes) != nil {
			return done, true
		}
		done++
	}
	_ = store.Close()
	return done, true
}

// holds opens a store and returns the number of commits that it has.
func (s *scenario) holds(d *disk, done int) error {
	store, err := openDisk(d)
	if err != nil {
		return err
	}
	defer store.Close()
	snap, err := store.Attach("a")
	if err != nil {
		return err
	}
	for n := done; n <= min(done+1, len(s.commits)); n++ {
		if same(snap, s.after[n]) {
			return nil
		}
	}
	return fmt.Errorf("after %d commits it has %d publications, %d identifiers, the session %+v; want %d, %d, %+v", done,
		len(snap.Publications), len(snap.Received), snap.Session,
		len(s.after[done].Publications), len(s.after[done].Received), s.after[done].Session)
}

func same(a, b flow.Snapshot) bool {
	if a.Empty() && b.Empty() && a.Session == nil && b.Session == nil {
		return true
	}
	return reflect.DeepEqual(a, b)
}

// K11: a power failure at every step. Of the writes that were not synced the disk has a random
// selection, in sectors.
func TestAPowerFailureAtAnyStepLosesNoCommit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	s := newScenario(rnd, 60)
	whole := newDisk()
	if done, _ := s.play(whole); done != len(s.commits) {
		t.Fatalf("%d commits", done)
	}
	t.Logf("%d steps, %d segments at the end", whole.steps, len(whole.names))
	for at := 1; at <= whole.steps; at++ {
		for _, part := range []bool{false, true} {
			for _, chance := range []int{0, 50, 100} {
				d := newDisk()
				d.step = func(string) fate { return fate{crash: d.steps == at, part: part} }
				done, _ := s.play(d)
				if err := s.holds(d.image(rnd, chance), done); err != nil {
					t.Fatalf("step %d, half %v, %d %%: %v", at, part, chance, err)
				}
			}
		}
	}
}

// A killed process leaves its writes to the kernel.
func TestAProcessThatEndsAtAnyStepLosesNoCommit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	s := newScenario(rnd, 60)
	whole := newDisk()
	s.play(whole)
	for at := 1; at <= whole.steps; at++ {
		for _, part := range []bool{false, true} {
			d := newDisk()
			d.step = func(string) fate { return fate{crash: d.steps == at, part: part} }
			done, _ := s.play(d)
			d = d.killed()
			if err := s.holds(d, done); err != nil {
				t.Fatalf("step %d, half %v: %v", at, part, err)
			}
			// The next process has reported this content, so a power failure must not change it.
			store, err := openDisk(d)
			if err != nil {
				t.Fatal(err)
			}
			snap := mustAttach(t, store)
			again, err := openDisk(d.image(rnd, 0))
			if err != nil {
				t.Fatal(err)
			}
			if got := mustAttach(t, again); !same(got, snap) {
				t.Fatalf("step %d, half %v: a power failure after Attach changes the content", at, part)
			}
		}
	}
}

// U26, D1: a step fails, with the next ones, and the session commits again. At the end the power
// fails, and the disk has nothing that was not synced.
func TestAfterAnErrorAtAnyStepNothingIsReportedAsStoredThatIsNot(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	s := newScenario(rnd, 40)
	whole := newDisk()
	s.play(whole)
	for at := 1; at <= whole.steps; at++ {
		for _, bad := range []fate{damagedDisk, {err: syscall.EIO, part: true}, {err: syscall.ENOSPC}, {err: syscall.ENOSPC, part: true}} {
			for _, run := range []int{1, 2, 5} {
				if err := s.fails(rnd, at, run, bad); err != nil {
					t.Fatalf("step %d, %d steps, %+v: %v", at, run, bad, err)
				}
			}
		}
	}
}

// fails lets run steps fail from step at on, repeats each commit until it succeeds, and stops at a
// random commit.
func (s *scenario) fails(rnd *rand.Rand, at, run int, bad fate) error {
	d := newDisk()
	d.step = func(string) fate {
		if d.steps >= at && d.steps < at+run {
			return bad
		}
		return fate{}
	}
	retry := func(f func() error) (err error) {
		for range run + 2 {
			if err = f(); err == nil || !errors.Is(err, bad.err) {
				return err
			}
		}
		return fmt.Errorf("the error stays: %w", err)
	}
	var store *Store
	err := retry(func() (err error) { store, err = openDisk(d); return err })
	if err == nil {
		err = retry(func() error { _, err := store.Attach("a"); return err })
	}
	if err != nil {
		return err
	}
	stop := 1 + rnd.IntN(len(s.commits))
	for i, changes := range s.commits[:stop] {
		if err := retry(func() error { return store.Commit(changes) }); err != nil {
			return fmt.Errorf("commit %d: %w", i, err)
		}
	}
	if err := s.holds(d.image(rnd, 0), stop); err != nil {
		return err
	}
	return s.holds(d.killed(), stop)
}

// A second failure of power, while the store opens after the first.
func TestAPowerFailureDuringOpenLosesNoCommit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	s := newScenario(rnd, 50)
	whole := newDisk()
	s.play(whole)
	for at := 1; at <= whole.steps; at += 3 {
		d := newDisk()
		d.step = func(string) fate { return fate{crash: d.steps == at} }
		done, _ := s.play(d)
		for second := 1; second < 12; second++ {
			again := d.image(rnd, 50)
			again.step = func(string) fate { return fate{crash: again.steps == second, part: true} }
			if store, err := openDisk(again); err == nil {
				_, _ = store.Attach("a")
			} else if !errors.Is(err, errCrashed) {
				t.Fatal(err)
			}
			if err := s.holds(again.image(rnd, 50), done); err != nil {
				t.Fatalf("steps %d and %d: %v", at, second, err)
			}
		}
	}
}
