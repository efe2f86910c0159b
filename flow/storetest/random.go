package storetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// randomly calls run with random sources of different seeds. A failed run prints its seed; to
// repeat the run, assign this number to seed.
func randomly(t *testing.T, runs int, run func(t *testing.T, rnd *rand.Rand)) {
	for range runs {
		seed := rand.Uint64()
		if run(t, rand.New(rand.NewPCG(seed, seed))); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// asInMemory applies the same changes to a store and to a [flow.MemoryStore], and compares their
// snapshots.
func asInMemory(t *testing.T, rnd *rand.Rand, open, again func(t *testing.T) flow.Store) {
	model, s := flow.NewMemoryStore(), open(t)
	attach := func() {
		t.Helper()
		got, err := s.Attach("a")
		if err != nil {
			t.Fatal(err)
		}
		want, err := model.Attach("a")
		if err != nil {
			t.Fatal(err)
		}
		if diff := difference(got, want); diff != "" {
			t.Fatal(diff)
		}
	}
	detach := func() {
		t.Helper()
		if err := s.Detach(); err != nil {
			t.Fatal(err)
		}
		_ = model.Detach()
	}
	attach()
	var seq uint64
	for range 10 {
		for range rnd.IntN(10) {
			changes := make([]flow.Change, rnd.IntN(1<<rnd.IntN(8)+1))
			for i := range changes {
				changes[i] = randomChange(rnd, &seq)
			}
			for range 1 + rnd.IntN(2) { // a session repeats a failed commit, which may have been applied
				if err := s.Commit(changes); err != nil {
					t.Fatal(err)
				}
			}
			_ = model.Commit(changes)
		}
		detach()
		if rnd.IntN(2) == 0 {
			s = again(t)
		}
		attach()
	}
	detach()
}

// randomChange returns a random change. Most of its changes could come from a session.
func randomChange(rnd *rand.Rand, seq *uint64) flow.Change {
	old := *seq - min(*seq, rnd.Uint64N(24)) // a recent publication, ended or not
	id := uint16(rnd.IntN(20))
	switch n := rnd.IntN(1000); {
	case n < 300:
		*seq += 1 + rnd.Uint64N(3)/2
		return flow.Change{Kind: flow.Accepted, Seq: *seq, Message: randomMessage(rnd)}
	case n < 310:
		return flow.Change{Kind: flow.Accepted, Seq: rnd.Uint64N(*seq + 5), Message: randomMessage(rnd)}
	case n < 500:
		return flow.Change{Kind: flow.Assigned, Seq: old, ID: id}
	case n < 600:
		return flow.Change{Kind: flow.Released, Seq: old}
	case n < 840:
		return flow.Change{Kind: flow.Completed, Seq: old}
	case n < 920:
		return flow.Change{Kind: flow.Received, ID: id}
	case n < 997:
		return flow.Change{Kind: flow.Forgotten, ID: id}
	default:
		return flow.Change{Kind: flow.Cleared}
	}
}

func randomMessage(rnd *rand.Rand) frames.Message {
	m := frames.Message{Topic: fmt.Sprint("topic/", rnd.IntN(3)), QoS: frames.QoS(1 + rnd.IntN(2)), Retain: rnd.IntN(2) == 0}
	m.Payload = make([]byte, rnd.IntN(1<<rnd.IntN(15)))
	for i := range m.Payload {
		m.Payload[i] = byte(rnd.Uint32())
	}
	return m
}

// difference returns a description of the first difference, or an empty string.
func difference(got, want flow.Snapshot) string {
	if fmt.Sprint(got.Received) != fmt.Sprint(want.Received) {
		return fmt.Sprintf("received identifiers %d, want %d", got.Received, want.Received)
	}
	if len(got.Publications) != len(want.Publications) {
		return fmt.Sprintf("%d publications, want %d", len(got.Publications), len(want.Publications))
	}
	for i, g := range got.Publications {
		w := want.Publications[i]
		same := bytes.Equal(g.Message.Payload, w.Message.Payload)
		g.Message.Payload, w.Message.Payload = nil, nil
		if !same || fmt.Sprint(g) != fmt.Sprint(w) {
			return fmt.Sprintf("publication %d: %+v, want %+v, same payload: %v", i, g, w, same)
		}
	}
	return ""
}
