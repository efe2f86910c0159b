package flow_test

import (
	"sync"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/flow/storetest"
)

func TestMemoryStoreIsAStore(t *testing.T) {
	var s flow.Store
	open := func(*testing.T) flow.Store { s = flow.NewMemoryStore(); return s }
	storetest.Run(t, open, func(*testing.T) flow.Store { return s })
}

// A second client calls Attach while the writer of the first client commits.
func TestMemoryStoreCanBeAskedWhileItCommits(t *testing.T) {
	s := flow.NewMemoryStore()
	if _, err := s.Attach("a"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for id := range uint16(1000) {
			_ = s.Commit([]flow.Change{{Kind: flow.Received, ID: id + 1}})
		}
	})
	for range 1000 {
		if _, err := s.Attach("b"); err != flow.ErrInUse {
			t.Errorf("error %v", err)
		}
	}
	wg.Wait()
	_ = s.Detach()
	if snap, err := s.Attach("a"); err != nil || len(snap.Received) != 1000 {
		t.Errorf("%d identifiers, %v", len(snap.Received), err)
	}
}
