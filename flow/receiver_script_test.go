package flow

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

const (
	qos1 = frames.AtLeastOnce
	qos2 = frames.ExactlyOnce
)

// inScript drives a Receiver as a session does.
type inScript struct {
	*Receiver
	t       *testing.T
	journal *Journal
}

func newInScript(t *testing.T) *inScript {
	s := &inScript{t: t, journal: new(Journal)}
	s.Receiver = NewReceiver(s.journal)
	return s
}

// arriveNew passes a new message for n consumers to the Receiver, which must deliver it. It returns
// the number of the first delivery.
func (s *inScript) arriveNew(qos frames.QoS, id uint16, n int) uint64 {
	s.t.Helper()
	first, isNew := s.Arrive(qos, id, false, n)
	if !isNew {
		s.t.Errorf("QoS %d #%d is treated as a duplicate", qos, id)
	}
	for i := range n {
		equal(s.t, "pending", s.Pending(first+uint64(i)), true)
	}
	return first
}

func (s *inScript) arriveAgain(id uint16) {
	s.t.Helper()
	s.arriveDuplicate(id, false)
}

func (s *inScript) arriveDuplicate(id uint16, dup bool) {
	s.t.Helper()
	if _, isNew := s.Arrive(qos2, id, dup, 2); isNew {
		s.t.Errorf("#%d is delivered again", id)
	}
}

// acks checks that want lists the acks that may be sent now.
func (s *inScript) acks(want ...string) {
	s.t.Helper()
	var got []string
	for {
		a, ok := s.Next()
		if !ok {
			break
		}
		got = append(got, fmt.Sprintf("%v#%d", a.Kind, a.ID))
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("acks %q, want %q", got, want)
	}
}

func (s *inScript) journaled(want ...Change) {
	s.t.Helper()
	if got := s.journal.MoveTo(nil); !reflect.DeepEqual(got, want) {
		s.t.Errorf("the journal has %+v, want %+v", got, want)
	}
}

func (s *inScript) counts(unacked, waiting, held int) {
	s.t.Helper()
	if s.Unacked() != unacked || s.Waiting() != waiting || s.Held() != held {
		s.t.Errorf("unacked %d, waiting %d, held %d; want %d, %d, %d",
			s.Unacked(), s.Waiting(), s.Held(), unacked, waiting, held)
	}
}
