package storetest

import (
	"errors"

	"github.com/go-millrace/mqtt/flow"
)

var ownerCases = []scripted{
	{"attached once, it is in use", inUse},
	{"another client identifier is rejected by name and changes nothing", otherClientID}, // K8
	{"an empty one takes any client identifier", emptyTakesAny},
}

// received returns the content of a session of the client identifier a, in which one message at QoS
// 2 was received.
func received(id uint16) flow.Snapshot { return flow.Snapshot{Owner: "a", Received: []uint16{id}} }

func inUse(s *script) {
	s.attach("a")
	for _, id := range []string{"a", "b"} {
		if s.err != nil {
			return
		}
		if _, err := s.store.Attach(id); !errors.Is(err, flow.ErrInUse) {
			s.fail("%q: error %v, want flow.ErrInUse", id, err)
		}
	}
	s.commit(flow.Change{Kind: flow.Received, ID: 1}) // the first session continues
	s.holds("a", received(1))
}

func otherClientID(s *script) {
	s.attach("a")
	s.commit(flow.Change{Kind: flow.Received, ID: 3})
	s.rejects("b", "a")
	s.attach("a")
	s.holds("a", received(3))
}

func emptyTakesAny(s *script) {
	s.attach("a")
	s.commit(flow.Change{Kind: flow.Received, ID: 3}, flow.Change{Kind: flow.Forgotten, ID: 3})
	s.restart()
	s.attach("b")
	s.commit(flow.Change{Kind: flow.Received, ID: 4})
	s.rejects("a", "b")
}
