package storetest

import (
	"fmt"

	"github.com/go-millrace/mqtt/flow"
)

// script runs the steps of one case against a store. After the first failure it does nothing more.
type script struct {
	store flow.Store
	again func() flow.Store
	err   error
}

func (s *script) fail(format string, a ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, a...)
	}
}

func (s *script) attach(clientID string) (snap flow.Snapshot) {
	if s.err == nil {
		snap, s.err = s.store.Attach(clientID)
	}
	return snap
}

func (s *script) commit(changes ...flow.Change) {
	if s.err == nil {
		s.err = s.store.Commit(changes)
	}
}

// restart detaches the session and returns the store as a new process would find it.
func (s *script) restart() {
	if s.err == nil {
		s.err = s.store.Detach()
	}
	if s.err == nil {
		s.store = s.again()
	}
}

// holds restarts, attaches the store to clientID and compares its content with want.
func (s *script) holds(clientID string, want flow.Snapshot) (got flow.Snapshot) {
	s.restart()
	got = s.attach(clientID)
	if s.err != nil {
		return got
	}
	if clientID != "" && got.Owner != clientID {
		s.fail("owner %q, want %q", got.Owner, clientID)
	}
	if diff := difference(got, want); diff != "" {
		s.fail("%s", diff)
	}
	return got
}
