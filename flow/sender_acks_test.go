package flow

import (
	"reflect"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// A1 to A3: every ack in every state of its exchange.
func TestExchangeStateDecidesEffectOfAck(t *testing.T) {
	// The publication has identifier 1. The acks of a case bring the publication into a state, in
	// which the last ack is checked.
	for _, c := range []struct {
		name string
		qos  frames.QoS
		acks []frames.Type
		id   uint16
		want Outcome
	}{
		{"A1 PUBACK, unknown", 1, []frames.Type{puback}, 2, Ignored},
		{"A1 PUBREC, unknown", 2, []frames.Type{pubrec}, 2, ReleaseUnknown},
		{"A1 PUBCOMP, unknown", 2, []frames.Type{pubcomp}, 2, Ignored},
		{"QoS 1, PUBACK", 1, []frames.Type{puback}, 1, Confirmed},
		{"QoS 2, PUBREC", 2, []frames.Type{pubrec}, 1, Release},
		{"QoS 2, PUBREC, PUBCOMP", 2, []frames.Type{pubrec, pubcomp}, 1, Confirmed},
		{"A2 PUBACK twice", 1, []frames.Type{puback, puback}, 1, Ignored},
		{"A2 PUBREC twice", 2, []frames.Type{pubrec, pubrec}, 1, Release},
		{"A2 PUBREC twice, PUBCOMP", 2, []frames.Type{pubrec, pubrec, pubcomp}, 1, Confirmed},
		{"A2 PUBCOMP twice", 2, []frames.Type{pubrec, pubcomp, pubcomp}, 1, Ignored},
		{"A2 PUBREC after PUBCOMP", 2, []frames.Type{pubrec, pubcomp, pubrec}, 1, ReleaseUnknown},
		{"A3 PUBACK for QoS 2", 2, []frames.Type{puback}, 1, Downgraded},
		{"A3 PUBREC for QoS 1", 1, []frames.Type{pubrec}, 1, Violation},
		{"A3 PUBCOMP for QoS 1", 1, []frames.Type{pubcomp}, 1, Violation},
		{"A3 PUBCOMP before PUBREC", 2, []frames.Type{pubcomp}, 1, Violation},
		{"A3 PUBACK after PUBREC", 2, []frames.Type{pubrec, puback}, 1, Violation},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, 1, nil)
			s.add(c.qos, "a")
			s.sends("a#1")
			last := len(c.acks) - 1
			for _, kind := range c.acks[:last] {
				s.Acknowledge(kind, 1, 0, allHanded, 0)
			}
			left := s.Len()
			e, got := s.Acknowledge(c.acks[last], c.id, 0, allHanded, 0)
			equal(t, "outcome", got, c.want)
			ended := c.want == Confirmed || c.want == Downgraded
			if ended {
				left--
			}
			equal(t, "owner of the ended publication", e.Owner == "a", ended)
			equal(t, "left", s.Len(), left)
			equal(t, "identifiers in use", s.ids.Len(), left)
		})
	}
}

// [MQTT-4.6.0-4]
func TestPubrelsAreDueInTheOrderOfThePubrecs(t *testing.T) {
	s := newScript(t, 3, nil)
	s.add(2, "a", "b", "c")
	s.sends("a#1", "b#2", "c#3")
	for _, id := range []uint16{3, 1, 2} { // the outcome Release means that PUBREL is due
		s.ack(pubrec, id, Release, "")
	}
	s.sends()
}

// K1, K2: a publication is sent again with the same identifier and DUP, and ends only with its ack.
func TestCutBeforeTheAckSendsAgainWithTheSameIdentifierAndDup(t *testing.T) {
	s := newScript(t, 5, nil)
	s.add(1, "a")
	s.add(2, "b")
	s.sends("a#1", "b#2")
	s.take()
	s.lost(true)
	s.sends("a#1 dup", "b#2 dup")
	s.take()
	s.lost(true)
	s.sends("a#1 dup", "b#2 dup")
	s.ack(puback, 1, Confirmed, "a")
	s.ack(pubrec, 2, Release, "")
	s.ack(pubcomp, 2, Confirmed, "b")
	s.counts(0, 0, 0)
}

// K3, K4
func TestCutAfterPubrecSendsPubrelAgainAndNeverThePublish(t *testing.T) {
	s := newScript(t, 5, nil)
	s.add(2, "a")
	s.sends("a#1")
	s.take()
	s.ack(pubrec, 1, Release, "")
	for range 3 {
		s.lost(true)
		s.sends("PUBREL#1")
		s.take()
	}
	s.lost(true)
	s.sends("PUBREL#1")
	s.ack(pubcomp, 1, Confirmed, "a")
}

// [MQTT-4.6.0-1]: 20 publications of QoS 1 and 2 in turn are in flight, some acks arrive out of
// order, and the connection is lost.
//
//	    a ...     f g ...  t
//	65530 ... 65535 1 ... 14
func TestResendKeepsTheOrderAcrossQoSAndAcrossTheWrap(t *testing.T) {
	s := newScript(t, 20, nil)
	s.ids.last = 65_529
	for i, name := range names(20) {
		s.add(frames.QoS(1+i%2), name)
	}
	s.add(0, "z")
	s.sends("a#65530", "b#65531", "c#65532", "d#65533", "e#65534", "f#65535", "g#1", "h#2", "i#3", "j#4",
		"k#5", "l#6", "m#7", "n#8", "o#9", "p#10", "q#11", "r#12", "s#13", "t#14", "z")
	s.take()
	s.ack(pubrec, 6, Release, "")
	s.ack(pubrec, 65_531, Release, "")
	s.ack(pubrec, 65_533, Release, "")
	s.ack(puback, 65_534, Confirmed, "e")
	s.ack(pubcomp, 65_533, Confirmed, "d")
	s.lost(true, "z")
	s.sends("a#65530 dup", "PUBREL#65531", "c#65532 dup", "f#65535 dup", "g#1 dup", "h#2 dup", "i#3 dup", "j#4 dup",
		"k#5 dup", "PUBREL#6", "m#7 dup", "n#8 dup", "o#9 dup", "p#10 dup", "q#11 dup", "r#12 dup", "s#13 dup",
		"t#14 dup")
}

// The same order after a restart from a store, with a smaller window.
func TestRestoredInFlightKeepsTheOrderAcrossTheWrap(t *testing.T) {
	s := newScript(t, 4, nil)
	id := uint16(65_530)
	for i, name := range names(12) {
		s.Restore(Publication{
			Seq:      uint64(i + 1),
			Message:  frames.Message{Topic: "t", QoS: frames.QoS(1 + i%2), Payload: []byte(name)},
			ID:       id,
			Released: i%4 == 3,
		}, name, 0)
		if id++; id == 0 {
			id = 1
		}
	}
	s.add(1, "x")
	s.sends("a#65530 dup", "b#65531 dup", "c#65532 dup", "PUBREL#65533")
	s.ack(pubcomp, 65_533, Confirmed, "d")
	s.sends("e#65534 dup")
	for _, id := range []uint16{65_532, 65_530, 65_534} {
		s.Acknowledge(puback, id, 0, allHanded, 0)
	}
	s.sends("f#65535 dup", "g#1 dup", "PUBREL#2")
}

// The clients rumqtt and paho did not count retransmissions, so a resumed session flooded the link.
func TestResendIsHeldToTheWindow(t *testing.T) {
	s := newScript(t, 4, nil)
	s.add(1, "a", "b", "c", "d", "e")
	s.sends("a#1", "b#2", "c#3", "d#4")
	s.take()
	s.lost(true)
	s.SetWindow(2)
	s.sends("a#1 dup", "b#2 dup")
	s.ack(puback, 1, Confirmed, "a")
	s.sends("c#3 dup")
	s.ack(puback, 3, Confirmed, "c")
	s.sends("d#4 dup")
	s.ack(puback, 2, Confirmed, "b")
	s.sends("e#5")
}

// Batch 1 was passed to the writer, batch 2 was not:
//
//	batch 1   a b#1 | batch 2   c d#2 e | waiting   f
func TestUnwrittenBatchCountsAsUnsent(t *testing.T) {
	s := newScript(t, 9, nil)
	s.add(0, "a")
	s.add(1, "b")
	s.sends("a", "b#1")
	s.take()
	s.add(0, "c")
	s.add(1, "d")
	s.add(0, "e")
	s.sends("c", "d#2", "e")
	s.add(1, "f")
	s.lost(true, "a") // QoS 0 is never sent again [MQTT-4.3.1-1]
	s.counts(3, 2, 5)
	s.sends("b#1 dup", "c", "d#2", "e", "f#3")
}

func TestUnwrittenQoS0ReturnsToItsPlace(t *testing.T) {
	s := newScript(t, 2, nil)
	s.add(0, "a")
	s.add(1, "b")
	s.add(0, "c", "d")
	s.add(1, "e")
	s.add(0, "f")
	s.add(1, "g")
	s.add(0, "h")
	s.sends("a", "b#1", "c", "d", "e#2", "f")
	s.ack(puback, 1, Confirmed, "b")
	s.lost(true)
	s.counts(6, 1, 7)
	s.sends("a", "c", "d", "e#2", "f", "g#3", "h")
}

// [MQTT-3.1.2-6]
func TestCleanSessionEndsSentAndKeepsUnsentMessages(t *testing.T) {
	s := newScript(t, 3, nil)
	s.add(1, "a")
	s.add(2, "b")
	s.sends("a#1", "b#2")
	s.take()
	s.ack(pubrec, 2, Release, "")
	s.add(1, "c", "d")
	s.sends("c#3")
	s.journal.MoveTo(nil)
	s.lost(false, "a", "b")
	s.counts(2, 0, 2)
	equal(t, "identifiers in use", s.ids.Len(), 0)
	want := []Change{{Kind: Completed, Seq: 1}, {Kind: Completed, Seq: 2}, {Kind: Assigned, Seq: 3}}
	if got := s.journal.MoveTo(nil); !reflect.DeepEqual(got, want) {
		t.Errorf("the journal has %+v", got)
	}
	s.sends("c#4", "d#5")
}

// K7, U24: a broker that lost the session gets all publications as new ones, except a publication
// that it acknowledged with PUBREC. That publication ends.
func TestSessionLostAtTheBrokerEndsReleasedPublicationsAndSendsTheOthersAsNew(t *testing.T) {
	s := newScript(t, 5, nil)
	s.add(1, "a")
	s.add(2, "b", "c", "d")
	s.sends("a#1", "b#2", "c#3", "d#4")
	s.take()
	s.ack(pubrec, 2, Release, "")
	s.ack(pubrec, 4, Release, "")
	s.lost(true)
	s.journal.MoveTo(nil)
	s.sessionLost("b", "d")
	want := []Change{{Kind: Completed, Seq: 2}, {Kind: Completed, Seq: 4}}
	if got := s.journal.MoveTo(nil); !reflect.DeepEqual(got, want) {
		t.Errorf("the journal has %+v, want %+v", got, want)
	}
	s.ack(pubrec, 3, ReleaseUnknown, "") // not sent in this session: treated as unknown, so that a stale PUBREC cannot repeat for ever
	s.ack(puback, 1, Ignored, "")
	s.sends("a#1", "c#3")
	s.take()
	s.lost(true)
	s.sends("a#1 dup", "c#3 dup")
	equal(t, "in flight", s.InFlight(), 2)
}

func TestAckBeforeRetransmissionCounts(t *testing.T) {
	s := newScript(t, 4, nil)
	s.add(1, "a", "b")
	s.add(2, "c", "d")
	s.sends("a#1", "b#2", "c#3", "d#4")
	s.take()
	s.lost(true)
	s.SetWindow(1)
	s.sends("a#1 dup")
	s.ack(puback, 2, Confirmed, "b")
	s.ack(pubrec, 3, Release, "")
	s.ack(pubcomp, 3, Confirmed, "c")
	s.sends()
	s.ack(puback, 1, Confirmed, "a")
	s.sends("d#4 dup")
	s.counts(0, 1, 1)
}

func (s *script) overdue(wantNext time.Duration, wantOK bool, want ...string) {
	s.t.Helper()
	var got []string
	next, ok := s.Overdue(s.batch, s.now, func(o Outgoing) { got = append(got, packetText(o.Single(0))) })
	s.same("overdue", got, want)
	if next != wantNext || ok != wantOK {
		s.t.Errorf("next at %v, %v, want %v, %v", next, ok, wantNext, wantOK)
	}
}

func TestWithoutRetryNothingIsEverOverdue(t *testing.T) {
	s := newScript(t, 5, nil)
	s.add(1, "a")
	s.sends("a#1")
	s.take()
	s.now = 1 << 60
	s.overdue(0, false)
}

// Initial is 4 s, Bandwidth one byte per second, and Factor 2. PUBLISH waits 5, 6, 8 ... seconds,
// PUBREL 4, 8, 16 and 16 seconds.
func TestOverduePacketsAreSentAgainAtTheirTimes(t *testing.T) {
	const sec = time.Second
	s := newScript(t, 2, &Retry{Initial: 4 * sec, Max: 16 * sec, Bandwidth: 1, Factor: 2})
	s.overdue(0, false)
	s.now = 100 * sec
	s.add(2, "a")
	s.add(1, "b", "c")
	s.sends("a#1", "b#2")
	s.take()
	s.overdue(105*sec, true)
	s.now = 105*sec - 1
	s.overdue(105*sec, true)
	s.now = 105 * sec
	s.overdue(111*sec, true, "a#1 dup", "b#2 dup")
	s.take()
	s.now = 107 * sec
	s.ack(pubrec, 1, Release, "")
	s.overdue(111*sec, true)
	s.now = 111 * sec
	s.overdue(119*sec, true, "PUBREL#1", "b#2 dup")
	s.take()
	s.ack(puback, 2, Confirmed, "b")
	s.sends("c#3")
	s.overdue(116*sec, true)
	s.ack(puback, 3, Confirmed, "c")
	for _, at := range []time.Duration{119, 135, 151} {
		s.now = at * sec
		s.overdue((at+16)*sec, true, "PUBREL#1")
		s.take()
	}
	s.ack(pubcomp, 1, Confirmed, "a")
	s.overdue(0, false)
}

func TestAttemptsStartAgainWithTheConnection(t *testing.T) {
	const sec = time.Second
	s := newScript(t, 2, &Retry{Initial: sec, Max: 4 * sec, Bandwidth: 1, Factor: 2})
	s.add(1, "a")
	s.sends("a#1")
	s.take()
	s.now = 2 * sec
	s.overdue(5*sec, true, "a#1 dup")
	s.take()
	s.lost(true)
	s.overdue(0, false)
	s.now = 3 * sec
	s.sends("a#1 dup")
	s.overdue(5*sec, true)
}

// The writer is blocked. A second copy in the same batch would be useless, and DUP would be wrong
// if the batch is never sent.
func TestPublicationInTheBatchIsNotResent(t *testing.T) {
	const sec = time.Second
	s := newScript(t, 2, &Retry{Initial: sec, Max: 4 * sec, Bandwidth: 1, Factor: 2})
	s.add(1, "a")
	s.sends("a#1")
	s.now = 2 * sec
	s.overdue(4*sec, true)
	s.lost(true)
	s.sends("a#1")
	s.take()
	s.now = 4 * sec
	s.overdue(7*sec, true, "a#1 dup")
	s.now = 7 * sec
	s.overdue(10*sec, true)
}

// A publication in a batch that the writer does not have yet was not sent. An ack with its
// identifier must be for an earlier packet.
func TestAckOfUnsentPublishEndsNothing(t *testing.T) {
	for kind, want := range map[frames.Type]Outcome{puback: Ignored, pubrec: ReleaseUnknown, pubcomp: Ignored} {
		s := newScript(t, 2, nil)
		s.add(qos2, "a")
		s.sends("a#1")
		if _, got := s.Acknowledge(kind, 1, 0, s.batch-1, 0); got != want {
			t.Errorf("%v: outcome %d, want %d", kind, got, want)
		}
		s.take()
		s.ack(pubrec, 1, Release, "")
		s.ack(pubcomp, 1, Confirmed, "a")
	}
}
