package flow

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// The window is 2, and an ack arrives out of order:
//
//	[a b]c d e
//	[a]b[c]d e
func TestNoMoreThanTheWindowIsOutstanding(t *testing.T) {
	s := newScript(t, 2, nil)
	s.add(1, "a", "b", "c", "d", "e")
	s.sends("a#1", "b#2")
	s.counts(3, 2, 5)
	s.ack(puback, 2, Confirmed, "b")
	s.sends("c#3")
	s.sends()
	s.ack(puback, 1, Confirmed, "a")
	s.ack(puback, 3, Confirmed, "c")
	s.sends("d#4", "e#5")
	s.counts(0, 2, 2)
}

// The window is 4, then 2:
//
//	[a b c d]e f    window 2
//	 a b c[d e]f    three are acknowledged, so one may be sent
func TestALowerWindowSendsNothingNewUntilEnoughIsAcknowledged(t *testing.T) {
	s := newScript(t, 4, nil)
	s.add(1, "a", "b")
	s.add(2, "c", "d")
	s.add(1, "e", "f")
	s.sends("a#1", "b#2", "c#3", "d#4")
	s.SetWindow(2)
	s.sends()
	s.ack(puback, 1, Confirmed, "a")
	s.sends()
	s.ack(pubrec, 3, Release, "")
	s.ack(pubcomp, 3, Confirmed, "c")
	s.sends()
	s.counts(2, 2, 4)
	s.ack(puback, 2, Confirmed, "b")
	s.sends("e#5")
	s.SetWindow(3)
	s.sends("f#6")
}

func TestWindowOfOneLetsTheNextGoAfterTheAck(t *testing.T) {
	s := newScript(t, 1, nil)
	s.add(1, "a")
	s.add(2, "b")
	s.add(1, "c")
	s.sends("a#1")
	s.ack(puback, 1, Confirmed, "a")
	s.sends("b#2")
	s.ack(pubrec, 2, Release, "")
	s.sends() // QoS 2 stays in the window until PUBCOMP
	s.ack(pubcomp, 2, Confirmed, "b")
	s.sends("c#3")
}

// [MQTT-2.3.1-3]
func TestIdentifierIsNotFreeBetweenPubrecAndPubcomp(t *testing.T) {
	s := newScript(t, 10, nil)
	s.add(2, "a")
	s.sends("a#1")
	s.ack(pubrec, 1, Release, "")
	s.ids.last = 0
	s.add(1, "b")
	s.sends("b#2")
	s.ack(pubcomp, 1, Confirmed, "a")
	s.ids.last = 0
	s.add(1, "c")
	s.sends("c#1")
}

func TestQoS0TakesNoPlaceInTheWindowAndOvertakesNobody(t *testing.T) {
	s := newScript(t, 1, nil)
	s.add(0, "a")
	s.add(1, "b")
	s.add(0, "c")
	s.add(1, "d")
	s.add(0, "e")
	s.sends("a", "b#1", "c")
	s.counts(2, 1, 5)
	s.ack(puback, 1, Confirmed, "b")
	s.sends("d#2", "e")
	s.counts(0, 1, 4)
}

func TestQoS0EndsWhenItsBatchIsWritten(t *testing.T) {
	s := newScript(t, 1, nil)
	s.add(0, "a", "b")
	s.sends("a", "b")
	first := s.take()
	s.add(0, "c")
	s.sends("c")
	second := s.take()
	s.written(first-1, []string{}...)
	s.written(first, "a", "b")
	s.written(second, "c")
	s.written(second)
	s.counts(0, 0, 0)
}

func TestWithdrawnBeforeItWasSentIsGone(t *testing.T) {
	s := newScript(t, 1, nil)
	s.add(1, "a")
	b := s.add(1, "b")
	c := s.add(0, "c")
	s.add(1, "d")
	s.sends("a#1")
	for _, h := range []Handle{b, c} {
		if gone, ok := s.Withdraw(h); !gone || !ok {
			t.Errorf("withdrawn: gone %v, ok %v", gone, ok)
		}
		if gone, ok := s.Withdraw(h); gone || ok {
			t.Errorf("withdrawn again: gone %v, ok %v", gone, ok)
		}
	}
	s.ack(puback, 1, Confirmed, "a")
	s.sends("d#2")
}

func TestWithdrawnInFlightGoesOnWithoutOwnerAndWithItsOwnPayload(t *testing.T) {
	for qos := range frames.QoS(3) {
		s := newScript(t, 1, nil)
		payload := []byte("right")
		h := s.Add(frames.Message{Topic: "t", QoS: qos, Payload: payload}, "owner", 0, Expiry{})
		s.Send(s.batch, 0)
		if gone, ok := s.Withdraw(h); gone || !ok {
			t.Errorf("QoS %d: gone %v, ok %v", qos, gone, ok)
		}
		copy(payload, "wrong")
		if e, ok := s.Find(h); !ok || e.Owner != "" || string(e.Message.Payload) != "right" {
			t.Errorf("QoS %d: found %q of %q, %v", qos, e.Message.Payload, e.Owner, ok)
		}
		s.lost(true) // the batch was not passed to the writer
		if o, ok := s.Send(s.batch, 0); !ok || string(o.Publish.Payload) != "right" || o.Publish.DUP {
			t.Errorf("QoS %d: sends %q, %v", qos, packetText(o), ok)
		}
		if got := s.journal.MoveTo(nil); qos > 0 && string(got[0].Message.Payload) != "right" {
			t.Errorf("QoS %d: the journal has %q", qos, got[0].Message.Payload)
		}
	}
}

func TestEachVisitsOpenMessages(t *testing.T) {
	s := newScript(t, 1, nil)
	a, b := s.add(1, "a"), s.add(0, "b")
	c, d := s.add(1, "c"), s.add(0, "d")
	s.sends("a#1", "b")
	s.ack(puback, 1, Confirmed, "a")
	got := map[Handle]string{}
	s.Each(func(h Handle, owner string) { got[h] += owner })
	if want := map[Handle]string{b: "b", c: "c", d: "d"}; !maps.Equal(got, want) {
		t.Errorf("visits %v, want %v; not %v", got, want, a)
	}
}

func TestHandleOfAnEndedPublicationNamesNoOther(t *testing.T) {
	s := newScript(t, 1, nil)
	old := s.add(1, "a")
	s.sends("a#1")
	s.ack(puback, 1, Confirmed, "a")
	h := s.add(1, "b") // the new publication reuses the slot
	equal(t, "slot", h.slot, old.slot)
	for _, h := range []Handle{old, {}, {slot: 99, seq: 1}} {
		if _, ok := s.Find(h); ok {
			t.Errorf("found %+v", h)
		}
		if gone, ok := s.Withdraw(h); gone || ok {
			t.Errorf("withdrew %+v", h)
		}
	}
	if e, ok := s.Find(h); !ok || e.Owner != "b" || string(e.Message.Payload) != "b" {
		t.Errorf("found %q of %q, %v", e.Message.Payload, e.Owner, ok)
	}
}

// [MQTT-2.3.1-2]: one set of identifiers for PUBLISH, SUBSCRIBE and UNSUBSCRIBE.
func TestIdentifiersOfSubscribesAreNotUsedForPublishes(t *testing.T) {
	s := newScript(t, 10, nil)
	s.ids.Claim(2, -1)
	s.ids.Claim(3, 0)
	s.ids.last = 0
	s.add(1, "a", "b")
	s.sends("a#1", "b#4")
	s.ack(puback, 2, Ignored, "") // not the identifier of a publication
	s.ack(puback, 3, Ignored, "")
	s.ack(pubcomp, 3, Ignored, "")
	s.counts(0, 2, 2)
}

// E1
func TestPublicationWaitsWhileAllIdentifiersAreInUse(t *testing.T) {
	s := newScript(t, 65_535, nil)
	s.ids.Acquire(-1)
	for range 65_535 {
		s.add(1, "x")
	}
	n := 0
	for ; ; n++ {
		if _, ok := s.Send(1, 0); !ok {
			break
		}
	}
	equal(t, "sent", n, 65_534)
	s.counts(1, 65_534, 65_535)
	s.ack(puback, 77, Confirmed, "x")
	s.sends("x#77")
}

func TestDrainEndsAllInOrderAndReportsWhetherEachWasSent(t *testing.T) {
	s := newScript(t, 2, nil)
	s.add(2, "a")
	s.add(1, "b", "c")
	s.add(0, "d")
	s.sends("a#1", "b#2")
	s.ack(pubrec, 1, Release, "")
	s.take()
	s.lost(true)
	s.journal.MoveTo(nil)
	var got []string
	s.Drain(func(e Ended[string], sent bool) { got = append(got, fmt.Sprint(e.Owner, e.ID, sent)) })
	s.same("drains", got, []string{"a1 true", "b2 true", "c0 false", "d0 false"})
	s.counts(0, 0, 0)
	equal(t, "identifiers in use", s.ids.Len(), 0)
	equal(t, "changes of the store", s.journal.Len(), 0)
	s.add(1, "e")
	s.sends("e#3")
}

func TestRestoredPublicationsGoFirstWithDupUnlessTheyWereNeverInFlight(t *testing.T) {
	s := newScript(t, 3, nil)
	m := func(qos frames.QoS, name string) frames.Message {
		return frames.Message{Topic: "t", QoS: qos, Payload: []byte(name)}
	}
	for _, p := range []Publication{
		{Seq: 4, Message: m(2, "a"), ID: 65_535, Released: true},
		{Seq: 5, Message: m(2, "b"), ID: 2},
		{Seq: 9, Message: m(1, "c"), ID: 3},
		{Seq: 10, Message: m(1, "d")},
	} {
		if !s.Restore(p, string(p.Message.Payload), 0) {
			t.Errorf("%q was rejected", p.Message.Payload)
		}
	}
	s.add(1, "e")
	s.counts(2, 3, 5)
	s.sends("PUBREL#65535", "b#2 dup", "c#3 dup")
	s.ack(pubcomp, 65_535, Confirmed, "a")
	s.ack(puback, 3, Confirmed, "c")
	s.sends("d#4", "e#5")
	changes := s.journal.MoveTo(nil)
	if c := changes[0]; c.Kind != Accepted || c.Seq != 11 {
		t.Errorf("the first change after them is %+v", c)
	}
}

func TestRestoreRefusesInvalidPublications(t *testing.T) {
	for _, bad := range []Publication{
		{Seq: 2, Message: message(1, 1), ID: 7},                 // ID in use
		{Seq: 1, Message: message(1, 1), ID: 8},                 // Seq in use
		{Seq: 0, Message: message(1, 1)},                        // no Seq
		{Seq: 2, Message: message(0, 1)},                        // QoS 0 is not stored
		{Seq: 2, Message: message(3, 1)},                        // no such QoS
		{Seq: 2, Message: message(1, 1), ID: 8, Released: true}, // PUBREC at QoS 1
		{Seq: 2, Message: message(2, 1), Released: true},        // PUBREC without an identifier
	} {
		s := newScript(t, 9, nil)
		s.Restore(Publication{Seq: 1, Message: message(1, 0), ID: 7}, "", 0)
		if s.Restore(bad, "", 0) {
			t.Errorf("%+v was accepted", bad)
		}
		s.counts(0, 1, 1)
		equal(t, "identifiers in use", s.ids.Len(), 1)
		s.sends("0#7 dup")
	}
}

func TestStoreIsToldEachStepOfQoS1And2AndNothingOfQoS0(t *testing.T) {
	s := newScript(t, 2, nil)
	journaled := func(want ...Change) {
		t.Helper()
		got := s.journal.MoveTo(nil)
		for i := range got {
			got[i].Message.Payload = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("journal has %+v, want %+v", got, want)
		}
	}
	s.add(0, "x")
	s.add(1, "a")
	s.add(2, "b")
	c := s.add(1, "c")
	journaled(Change{Kind: Accepted, Seq: 2, Message: frames.Message{Topic: "t", QoS: 1}},
		Change{Kind: Accepted, Seq: 3, Message: frames.Message{Topic: "t", QoS: 2}},
		Change{Kind: Accepted, Seq: 4, Message: frames.Message{Topic: "t", QoS: 1}})
	s.sends("x", "a#1", "b#2")
	journaled(Change{Kind: Assigned, Seq: 2, ID: 1}, Change{Kind: Assigned, Seq: 3, ID: 2})
	s.ack(pubrec, 2, Release, "")
	s.ack(pubrec, 2, Release, "")
	journaled(Change{Kind: Released, Seq: 3})
	s.Withdraw(c)
	journaled(Change{Kind: Completed, Seq: 4})
	s.take()
	s.lost(true, "x")
	s.sends("a#1 dup", "PUBREL#2")
	journaled()
	s.ack(puback, 1, Confirmed, "a")
	s.ack(pubcomp, 2, Confirmed, "b")
	journaled(Change{Kind: Completed, Seq: 2}, Change{Kind: Completed, Seq: 3})
}

func TestIdleSenderGivesItsMemoryBackAndGoesOn(t *testing.T) {
	s := newScript(t, 1000, nil)
	for range 1000 {
		s.add(1, "x")
	}
	s.Shrink()
	s.counts(1000, 0, 1000)
	for range 1000 {
		s.Send(1, 0)
	}
	for id := range uint16(1000) {
		s.ack(puback, id+1, Confirmed, "x")
	}
	old := Handle{slot: 500, seq: 500}
	s.Shrink()
	if cap(s.queue.entries)+cap(s.queue.links)+cap(s.queue.free) > 8 || len(s.ids.table.slots) > tableMin {
		t.Errorf("keeps %d entries, %d slots for identifiers", cap(s.queue.entries), len(s.ids.table.slots))
	}
	if _, ok := s.Withdraw(old); ok {
		t.Error("withdrew an ended publication")
	}
	s.add(1, strings.Repeat("y", 3))
	s.sends("yyy#1001")
}

// After a failed commit the publications that it accepted end, whatever their state. All other
// publications continue, with the window and the identifiers as before.
func TestPublicationsOfAFailedCommitEndAndTheOthersGoOn(t *testing.T) {
	s := newScript(t, 3, nil)
	s.add(qos1, "a")
	s.journal.MoveTo(nil)
	s.add(qos1, "b")
	s.add(0, "zero")
	s.add(qos2, "c")
	failed := s.journal.MoveTo(nil)
	s.add(qos1, "d")
	s.sends("a#1", "b#2", "zero", "c#3")
	s.journal.MoveTo(nil)

	var ended []string
	s.CommitFailed(failed, func(e Ended[string]) { ended = append(ended, e.Owner) })
	s.same("ended", ended, []string{"b", "c"})
	if want := []Change{{Kind: Completed, Seq: 2}, {Kind: Completed, Seq: 4}}; !reflect.DeepEqual(failed, want) {
		t.Errorf("changes to commit again %+v, want %+v", failed, want)
	}
	equal(t, "changes beside", s.journal.Len(), 0)
	equal(t, "in flight", s.InFlight(), 1)
	equal(t, "identifiers in use", s.ids.Len(), 1)
	s.sends("d#4")
	equal(t, "not ended", s.Len(), 3)
}

// The store does not know these publications, so the journal must forget all their changes.
func TestUncommittedPublicationsThatEndLeaveNothingInTheJournal(t *testing.T) {
	s := newScript(t, 3, nil)
	s.add(qos1, "a")
	s.journal.MoveTo(nil)
	s.sends("a#1")
	s.add(qos2, "b")
	s.add(0, "zero")
	s.add(qos1, "c")
	s.sends("b#2", "zero", "c#3")

	var ended []string
	s.EndJournaled(func(e Ended[string]) { ended = append(ended, e.Owner) })
	s.same("ended", ended, []string{"b", "c"})
	if got, want := s.journal.MoveTo(nil), []Change{{Kind: Assigned, Seq: 1, ID: 1}}; !reflect.DeepEqual(got, want) {
		t.Errorf("the journal has %+v, want %+v", got, want)
	}
	equal(t, "in flight", s.InFlight(), 1)
}
