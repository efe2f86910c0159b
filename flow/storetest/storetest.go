// Package storetest tests whether a [flow.Store] keeps the contract. It serves the stores of this
// module and stores written by users.
package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// Run tests the contract of [flow.Store]. The function open must return a new store. The function
// again must return the store that the last call of either function returned, as a new process
// would find it. Run calls again only while no session is attached. For a store on disk, again
// closes the store and opens its file anew.
func Run(t *testing.T, open, again func(t *testing.T) flow.Store) {
	attach := func(t *testing.T, s flow.Store, clientID string) flow.Snapshot {
		t.Helper()
		snap, err := s.Attach(clientID)
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}
	commit := func(t *testing.T, s flow.Store, changes ...flow.Change) {
		t.Helper()
		if err := s.Commit(changes); err != nil {
			t.Fatal(err)
		}
	}
	detach := func(t *testing.T, s flow.Store) {
		t.Helper()
		if err := s.Detach(); err != nil {
			t.Fatal(err)
		}
	}
	// holds detaches the session, attaches a new one with the client identifier a, and compares its
	// snapshot with want.
	holds := func(t *testing.T, s *flow.Store, want flow.Snapshot) flow.Snapshot {
		t.Helper()
		detach(t, *s)
		*s = again(t)
		got := attach(t, *s, "a")
		want.Owner = "a"
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("holds %+v, want %+v", got, want)
		}
		return got
	}
	m := func(qos frames.QoS, payload string) frames.Message {
		return frames.Message{Topic: "topic", QoS: qos, Payload: []byte(payload), Retain: qos == frames.ExactlyOnce}
	}

	t.Run("a new one is empty", func(t *testing.T) {
		if snap := attach(t, open(t), "a"); !snap.Empty() {
			t.Errorf("holds %+v", snap)
		}
	})
	t.Run("a publication goes from accepted to completed", func(t *testing.T) {
		s := open(t)
		attach(t, s, "a")
		want := flow.Publication{Seq: 1, Message: m(2, "x")}
		commit(t, s, flow.Change{Kind: flow.Accepted, Seq: 1, Message: m(2, "x")})
		holds(t, &s, flow.Snapshot{Publications: []flow.Publication{want}})

		want.ID = 7
		commit(t, s, flow.Change{Kind: flow.Assigned, Seq: 1, ID: 7})
		holds(t, &s, flow.Snapshot{Publications: []flow.Publication{want}})

		want.Released = true
		commit(t, s, flow.Change{Kind: flow.Released, Seq: 1})
		holds(t, &s, flow.Snapshot{Publications: []flow.Publication{want}})

		commit(t, s, flow.Change{Kind: flow.Completed, Seq: 1})
		holds(t, &s, flow.Snapshot{})
	})
	t.Run("a publication without a topic takes the place of one that was given up", func(t *testing.T) {
		s := open(t)
		attach(t, s, "a")
		commit(t, s, flow.Change{Kind: flow.Accepted, Seq: 1, Message: m(2, "x")}, flow.Change{Kind: flow.Assigned, Seq: 1, ID: 7})
		blank := flow.Publication{Seq: 2, ID: 7, Message: frames.Message{QoS: frames.AtLeastOnce}}
		commit(t, s, flow.Change{Kind: flow.Completed, Seq: 1}, flow.Change{Kind: flow.Accepted, Seq: 2, Message: blank.Message},
			flow.Change{Kind: flow.Assigned, Seq: 2, ID: 7})
		if got := holds(t, &s, flow.Snapshot{Publications: []flow.Publication{blank}}); !got.Publications[0].GivenUp() {
			t.Errorf("%+v is not one that was given up", got.Publications[0])
		}
		commit(t, s, flow.Change{Kind: flow.Completed, Seq: 2})
		holds(t, &s, flow.Snapshot{})
	})
	t.Run("an identifier can be taken back", func(t *testing.T) {
		s := open(t)
		attach(t, s, "a")
		commit(t, s, flow.Change{Kind: flow.Accepted, Seq: 1, Message: m(1, "x")},
			flow.Change{Kind: flow.Assigned, Seq: 1, ID: 7}, flow.Change{Kind: flow.Assigned, Seq: 1})
		holds(t, &s, flow.Snapshot{Publications: []flow.Publication{{Seq: 1, Message: m(1, "x")}}})
	})
	t.Run("the changes of a commit are applied in order", func(t *testing.T) {
		s := open(t)
		attach(t, s, "a")
		commit(t, s,
			flow.Change{Kind: flow.Accepted, Seq: 1, Message: m(1, "gone")},
			flow.Change{Kind: flow.Received, ID: 4},
			flow.Change{Kind: flow.Completed, Seq: 1},
			flow.Change{Kind: flow.Forgotten, ID: 4},
			flow.Change{Kind: flow.Received, ID: 4},
			flow.Change{Kind: flow.Accepted, Seq: 2, Message: m(1, "here")},
			flow.Change{Kind: flow.Assigned, Seq: 2, ID: 1},
			flow.Change{Kind: flow.Assigned, Seq: 2, ID: 9},
		)
		holds(t, &s, flow.Snapshot{
			Publications: []flow.Publication{{Seq: 2, Message: m(1, "here"), ID: 9}},
			Received:     []uint16{4},
		})
	})
	t.Run("the snapshot is in order of acceptance, identifiers rising", func(t *testing.T) {
		s := open(t)
		attach(t, s, "a")
		seqs := []uint64{1 << 40, 3, 256, 1, 255}
		for _, seq := range seqs {
			commit(t, s, flow.Change{Kind: flow.Accepted, Seq: seq, Message: m(1, "")})
		}
		for _, id := range []uint16{65_535, 1, 256, 255} {
			commit(t, s, flow.Change{Kind: flow.Received, ID: id})
		}
		var want flow.Snapshot
		for _, seq := range []uint64{1, 3, 255, 256, 1 << 40} {
			want.Publications = append(want.Publications, flow.Publication{Seq: seq, Message: m(1, "")})
		}
		want.Received = []uint16{1, 255, 256, 65_535}
		holds(t, &s, want)
	})
	t.Run("changes of unknown publications and identifiers have no effect", func(t *testing.T) {
		s := open(t)
		attach(t, s, "a")
		commit(t, s, flow.Change{Kind: flow.Completed, Seq: 5}, flow.Change{Kind: flow.Forgotten, ID: 5},
			flow.Change{Kind: flow.Assigned, Seq: 5, ID: 5}, flow.Change{Kind: flow.Released, Seq: 5})
		commit(t, s)
		holds(t, &s, flow.Snapshot{})
	})
	t.Run("a cleared store is empty and accepts later changes", func(t *testing.T) {
		s := open(t)
		attach(t, s, "a")
		commit(t, s, flow.Change{Kind: flow.Accepted, Seq: 1, Message: m(1, "old")}, flow.Change{Kind: flow.Received, ID: 1})
		commit(t, s, flow.Change{Kind: flow.Cleared}, flow.Change{Kind: flow.Accepted, Seq: 2, Message: m(1, "new")})
		holds(t, &s, flow.Snapshot{Publications: []flow.Publication{{Seq: 2, Message: m(1, "new")}}})
	})
	t.Run("it keeps no reference to changes and payloads", func(t *testing.T) {
		s := open(t)
		attach(t, s, "a")
		payload := []byte("right")
		changes := []flow.Change{{Kind: flow.Accepted, Seq: 1, Message: frames.Message{Topic: "topic", QoS: 1, Payload: payload}}}
		commit(t, s, changes...)
		copy(payload, "wrong")
		changes[0] = flow.Change{}
		want := flow.Snapshot{Publications: []flow.Publication{{Seq: 1, Message: m(1, "right")}}}
		got := holds(t, &s, want)
		copy(got.Publications[0].Message.Payload, "wrong")
		holds(t, &s, want)
	})
	t.Run("attached once, it is in use", func(t *testing.T) {
		s := open(t)
		attach(t, s, "a")
		for _, id := range []string{"a", "b"} {
			if _, err := s.Attach(id); !errors.Is(err, flow.ErrInUse) {
				t.Errorf("%q: error %v, want flow.ErrInUse", id, err)
			}
		}
		commit(t, s, flow.Change{Kind: flow.Received, ID: 1}) // the first session continues
		holds(t, &s, flow.Snapshot{Received: []uint16{1}})
	})
	// K8
	t.Run("another client identifier is rejected by name and changes nothing", func(t *testing.T) {
		s := open(t)
		attach(t, s, "a")
		commit(t, s, flow.Change{Kind: flow.Received, ID: 3})
		detach(t, s)
		s = again(t)
		snap, err := s.Attach("b")
		var owner *flow.OwnerError
		if !errors.As(err, &owner) || *owner != (flow.OwnerError{Owner: "a", Asked: "b"}) {
			t.Errorf("error %v", err)
		}
		if !snap.Empty() {
			t.Errorf("another client identifier got %+v", snap)
		}
		attach(t, s, "a")
		holds(t, &s, flow.Snapshot{Received: []uint16{3}})
	})
	t.Run("an empty one takes any client identifier", func(t *testing.T) {
		s := open(t)
		attach(t, s, "a")
		commit(t, s, flow.Change{Kind: flow.Received, ID: 3}, flow.Change{Kind: flow.Forgotten, ID: 3})
		detach(t, s)
		s = again(t)
		attach(t, s, "b")
		commit(t, s, flow.Change{Kind: flow.Received, ID: 4})
		detach(t, s)
		s = again(t)
		var owner *flow.OwnerError
		if _, err := s.Attach("a"); !errors.As(err, &owner) || owner.Owner != "b" {
			t.Errorf("error %v", err)
		}
	})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := &script{store: open(t), again: func() flow.Store { return again(t) }}
			if c.run(s); s.err != nil {
				t.Error(s.err)
			}
		})
	}
	t.Run("random changes, with restarts between, have the same result as in memory", func(t *testing.T) {
		randomly(t, 20, func(t *testing.T, rnd *rand.Rand) { asInMemory(t, rnd, open, again) })
	})
}
