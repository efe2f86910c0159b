// Package storetest tests whether a [flow.Store] keeps the contract. It serves the stores of this
// module and stores written by users.
package storetest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt/flow"
)

// Run tests the contract of [flow.Store]. The function open must return a new store. The function
// again must return the store that the last call of either function returned, as a new process
// would find it. Run calls again only while no session is attached. For a store on disk, again
// closes the store and opens its file anew.
func Run(t *testing.T, open, again func(t *testing.T) flow.Store) {
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

// scripted is a case that a script runs.
type scripted struct {
	name string
	run  func(s *script)
}

// cases are all cases that a script runs.
var cases = slices.Concat(contentCases, ownerCases, propertyCases, sessionCases)

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
