package flow

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// script drives a Sender as a session does. It writes packets as texts:
//
//	a          PUBLISH of payload a, QoS 0
//	a#1        PUBLISH of payload a with identifier 1
//	a#1 dup    the same with DUP
//	PUBREL#1
type script struct {
	*Sender[string]
	t       *testing.T
	ids     *Identifiers
	journal *Journal
	batch   uint64 // the current batch
	now     time.Duration
}

func newScript(t *testing.T, window int, retry *Retry) *script {
	s := &script{t: t, ids: new(Identifiers), journal: new(Journal), batch: 1}
	s.Sender = NewSender[string](window, s.ids, retry, s.journal)
	return s
}

func (s *script) add(qos frames.QoS, names ...string) (h Handle) {
	for _, name := range names {
		h = s.Add(frames.Message{Topic: "t", QoS: qos, Payload: []byte(name)}, name, 0, Expiry{})
	}
	return h
}

func packetText(o Single) string {
	if o.Type == frames.TypePubrel {
		return fmt.Sprintf("PUBREL#%d", o.Publish.ID)
	}
	text := string(o.Publish.Payload)
	if o.Publish.ID != 0 {
		text = fmt.Sprintf("%s#%d", text, o.Publish.ID)
	}
	if o.Publish.DUP {
		text += " dup"
	}
	return text
}

func (s *script) same(what string, got, want []string) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Errorf("%s %q, want %q", what, got, want)
	}
}

// sends checks that want lists the packets that may be transmitted now.
func (s *script) sends(want ...string) {
	s.t.Helper()
	var got []string
	for {
		o, ok := s.Send(s.batch, s.now)
		if !ok {
			break
		}
		got = append(got, packetText(o))
	}
	s.same("sends", got, want)
}

// take hands the batch to the writer.
func (s *script) take() (batch uint64) {
	s.batch++
	return s.batch - 1
}

// ack passes one ack to the Sender, and checks the outcome and the owner of the publication that
// ended.
func (s *script) ack(kind frames.Type, id uint16, want Outcome, name string) {
	s.t.Helper()
	e, got := s.Acknowledge(kind, id, 0, allHanded, s.now)
	if got != want || e.Owner != name {
		s.t.Errorf("%v#%d: outcome %d of %q, want %d of %q", kind, id, got, e.Owner, want, name)
	}
	if name != "" && (e.ID != id || string(e.Message.Payload) != name) {
		s.t.Errorf("%v#%d: ended %q with identifier %d", kind, id, e.Message.Payload, e.ID)
	}
}

// lost ends the connection. The writer has received all batches before the current one.
func (s *script) lost(keep bool, ends ...string) {
	s.t.Helper()
	var got []string
	s.Lost(s.batch-1, keep, func(e Ended[string]) { got = append(got, e.Owner) })
	s.same("ends", got, ends)
}

// sessionLost begins a connection whose broker has no session.
func (s *script) sessionLost(ends ...string) {
	s.t.Helper()
	var got []string
	s.SessionLost(func(e Ended[string]) { got = append(got, e.Owner) })
	s.same("ends", got, ends)
}

func (s *script) written(batch uint64, ends ...string) {
	s.t.Helper()
	var got []string
	s.Written(batch, func(e Ended[string]) { got = append(got, e.Owner) })
	s.same("written ends", got, ends)
}

func (s *script) counts(queued, inFlight, all int) {
	s.t.Helper()
	if s.Queued() != queued || s.InFlight() != inFlight || s.Len() != all {
		s.t.Errorf("queued %d, in flight %d, all %d; want %d, %d, %d",
			s.Queued(), s.InFlight(), s.Len(), queued, inFlight, all)
	}
}

var (
	puback  = frames.TypePuback
	pubrec  = frames.TypePubrec
	pubcomp = frames.TypePubcomp
)

func names(n int) (all []string) {
	for i := range n {
		all = append(all, string(rune('a'+i)))
	}
	return all
}
