package flow

import (
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// addExpiring adds a publication that expires at the time at.
func (s *script) addExpiring(qos frames.QoS, name string, at time.Duration) {
	m := frames.Message{Topic: "t", QoS: qos, Payload: []byte(name)}
	s.Add(m, name, s.now, Expiry{At: at, Wall: time.Unix(0, 0).Add(at)})
}

// expires checks that the publications of want expire at the time now, and when Expire is due next.
func (s *script) expires(now, next time.Duration, want ...string) {
	s.t.Helper()
	var got []string
	s.now = now
	s.Expire(now, func(e Ended[string]) { got = append(got, e.Owner) })
	s.same("expires", got, want)
	equal(s.t, "the next expiry", s.ExpiresAt(), next)
}

// drops checks that name is the next publication, and drops it.
func (s *script) drops(name string, sent bool) {
	s.t.Helper()
	m, _, was := s.First()
	if m == nil || string(m.Payload) != name || was != sent {
		s.t.Fatalf("first is %v, sent %v, want %s, %v", m, was, name, sent)
	}
	if e := s.Drop(); string(e.Message.Payload) != name || e.Len() != 1 {
		s.t.Errorf("dropped %q, want %q", e.Message.Payload, name)
	}
}

// outstands checks how many publications count in the window.
func (s *script) outstands(want int) {
	s.t.Helper()
	equal(s.t, "outstanding", s.window.outstanding, want)
}

// journalKinds checks the kinds of the changes in the journal, and empties the journal.
func (s *script) journalKinds(want ...ChangeKind) {
	s.t.Helper()
	var got []ChangeKind
	for _, c := range s.journal.MoveTo(nil) {
		got = append(got, c.Kind)
	}
	if len(got) != len(want) {
		s.t.Fatalf("the journal has %v, want %v", got, want)
	}
	for i := range got {
		equal(s.t, "kind", got[i], want[i])
	}
}

// V59
func TestQueuedPublicationsExpireAtTheirTimesWhateverTheOrder(t *testing.T) {
	s := newScript(t, 0, nil)
	equal(t, "nothing expires", s.ExpiresAt(), 0)
	s.addExpiring(1, "a", 3*time.Second)
	s.add(1, "b")
	s.addExpiring(0, "c", 2*time.Second)
	s.addExpiring(2, "d", 5*time.Second)
	s.expires(time.Second, 2*time.Second)
	s.expires(2*time.Second, 3*time.Second, "c")
	s.expires(10*time.Second, 0, "a", "d")
	s.counts(1, 0, 1)
	s.journalKinds(Accepted) // of b
}

// V59
func TestAnExpiredPublicationLeavesTheWindowAndTheStore(t *testing.T) {
	s := newScript(t, 1, nil)
	s.add(1, "a")
	s.addExpiring(1, "b", time.Second)
	s.add(1, "c")
	s.sends("a#1")
	s.journalKinds(Accepted, Accepted, Accepted, Assigned)
	s.expires(time.Second, 0, "b")
	s.journalKinds(Completed)
	s.outstands(1)
	s.ack(puback, 1, Confirmed, "a")
	s.sends("c#2")
}

// V59: the broker may have a publication in flight, so it is sent again.
func TestAPublicationInFlightDoesNotExpire(t *testing.T) {
	s := newScript(t, 9, nil)
	s.addExpiring(1, "a", time.Second)
	s.addExpiring(2, "b", time.Second)
	s.sends("a#1", "b#2")
	s.take()
	s.expires(2*time.Second, 0)
	s.lost(true)
	s.expires(3*time.Second, 0)
	s.sends("a#1 dup", "b#2 dup")
	s.ack(puback, 1, Confirmed, "a")
	s.ack(pubrec, 2, Release, "")
	s.ack(pubcomp, 2, Confirmed, "b")
	s.addExpiring(1, "c", 9*time.Second)
	s.expires(4*time.Second, 9*time.Second)
}

// V59: a batch that the writer did not get goes back to the queue, and its messages expire there.
func TestARequeuedPublicationExpires(t *testing.T) {
	for _, qos := range []frames.QoS{0, 1} {
		s := newScript(t, 9, nil)
		s.addExpiring(qos, "a", time.Second)
		s.addExpiring(1, "b", 5*time.Second)
		s.Send(s.batch, 0)
		s.expires(2*time.Second, 5*time.Second)
		s.lost(false)
		equal(t, "the next expiry", s.ExpiresAt(), time.Second)
		s.expires(2*time.Second, 5*time.Second, "a")
	}
}

// V59: by the time of day, which the caller converts.
func TestARestoredPublicationExpiresUnlessItWasInFlight(t *testing.T) {
	s := newScript(t, 9, nil)
	s.Restore(Publication{Seq: 1, ID: 7, Message: message(1, 1)}, "inflight", 1)
	s.Restore(Publication{Seq: 2, Message: message(1, 2)}, "queued", 1)
	s.Restore(Publication{Seq: 3, Message: message(2, 3)}, "later", time.Hour)
	s.expires(time.Second, time.Hour, "queued")
	s.sends("1#7 dup", "3#8")
}

// V59
func TestTheStoreKeepsTheDeadlineAndTheSinglePacketTheTime(t *testing.T) {
	s := newScript(t, 9, nil)
	s.addExpiring(1, "a", time.Minute)
	s.add(1, "b")
	changes := s.journal.MoveTo(nil)
	equal(t, "deadline", changes[0].Deadline, time.Unix(60, 0))
	equal(t, "no deadline", changes[1].Deadline.IsZero(), true)
	a, _ := s.Send(1, 0)
	b, _ := s.Send(1, 0)
	equal(t, "until", a.Until, time.Minute)
	equal(t, "never", b.Until, 0)
}

// V29
func TestAPublicationThatTheConnectionCannotCarryIsDropped(t *testing.T) {
	s := newScript(t, 2, nil)
	s.add(2, "a", "b", "c")
	s.add(0, "d")
	s.drops("a", false)
	s.sends("b#1", "c#2", "d")
	s.ack(pubrec, 1, Release, "")
	s.take()
	s.lost(true, "d")
	m, _, sent := s.First()
	equal(t, "PUBREL is next", m == nil && !sent, true)
	s.Send(s.batch, 0)
	s.drops("c", true)
	s.counts(0, 1, 1)
	s.outstands(1)
	s.ack(pubcomp, 1, Confirmed, "b")
	equal(t, "identifiers", s.ids.Len(), 0)
	m, _, _ = s.First()
	equal(t, "nothing is left", m == nil, true)
	s.journalKinds(Accepted, Accepted, Assigned, Assigned, Released, Completed, Completed) // without a
}

// V30
func TestTheFirstMessageOfARunIsDroppedAlone(t *testing.T) {
	s := newScript(t, 2, nil)
	s.AddRun([]frames.Message{message(0, 1), message(0, 2), message(0, 3)}, "run", 0, Expiry{})
	s.drops("1", false)
	s.counts(2, 0, 2)
	s.Transmitted(1, 1, 0)
	s.drops("3", false)
	s.written(1, "run")
	s.counts(0, 0, 0)
}

// V29
func TestALoweredPublicationGoesOutAtTheLowerQoS(t *testing.T) {
	for _, c := range []struct {
		from, to frames.QoS
		want     string
		inFlight int
	}{{2, 1, "a#1", 1}, {2, 0, "a", 0}, {1, 0, "a", 0}} {
		s := newScript(t, 9, nil)
		s.add(c.from, "a")
		s.Lower(c.to)
		s.sends(c.want)
		s.counts(0, c.inFlight, 1)
		var ended Ended[string]
		if c.to == 1 {
			ended, _ = s.Acknowledge(puback, 1, 0, allHanded, 0)
			s.journalKinds(Accepted, Assigned, Completed)
		} else {
			s.Written(1, func(e Ended[string]) { ended = e })
			s.journalKinds()
		}
		equal(t, "lowered", ended.Lowered, true)
		equal(t, "QoS", ended.Message.QoS, c.to)
		s.counts(0, 0, 0)
	}
}

// V29: the publication has an identifier, but the broker does not have the publication.
func TestAPublicationThatNeverLeftLosesItsIdentifierWhenItIsLoweredToQoS0(t *testing.T) {
	for _, sessionLost := range []bool{false, true} {
		s := newScript(t, 9, nil)
		s.add(1, "a", "b")
		s.sends("a#1", "b#2")
		s.journalKinds(Accepted, Accepted, Assigned, Assigned)
		if sessionLost {
			s.take()
		}
		s.lost(true)
		if sessionLost {
			s.sessionLost()
		}
		_, _, sent := s.First()
		equal(t, "sent", sent, false)
		s.Lower(0)
		s.journalKinds(Completed)
		s.counts(1, 1, 2)
		equal(t, "identifiers", s.ids.Len(), 1)
		s.sends("a", "b#2")
		s.counts(0, 1, 2)
		s.written(s.take(), "a")
		s.ack(puback, 2, Confirmed, "b")
		equal(t, "identifiers", s.ids.Len(), 0)
	}
}
