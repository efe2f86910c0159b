package flow

import (
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// A6, [MQTT-4.6.0-2], [MQTT-4.6.0-3]
//
//	arrived   1 2 3 4
//	acked     . 2 3 .    no ack may be sent
//	acked     1 2 3 .    three acks may be sent
func TestAcksLeaveInOrderOfArrivalWhateverTheOrderOfAckCalls(t *testing.T) {
	s := newInScript(t)
	a, b := s.arriveNew(qos1, 1, 1), s.arriveNew(qos2, 2, 1)
	c, d := s.arriveNew(qos1, 3, 1), s.arriveNew(qos2, 4, 1)
	s.Ack(c)
	s.Ack(b)
	s.acks()
	s.counts(4, 2, 2)
	s.Ack(a)
	s.acks("PUBACK#1", "PUBREC#2", "PUBACK#3")
	s.counts(1, 1, 2)
	s.Ack(d)
	s.acks("PUBREC#4")
	s.counts(0, 0, 2)
}

func TestAckWaitsForAllConsumersOfTheMessage(t *testing.T) {
	for qos, want := range map[frames.QoS]string{qos1: "PUBACK#7", qos2: "PUBREC#7"} {
		s := newInScript(t)
		first := s.arriveNew(qos, 7, 3)
		s.counts(1, 3, int(qos-1))
		s.Ack(first + 2)
		s.Ack(first)
		s.acks()
		s.journaled()
		s.Ack(first + 1)
		s.acks(want)
		s.counts(0, 0, int(qos-1))
	}
}

func TestAckingTwiceIsHarmless(t *testing.T) {
	s := newInScript(t)
	first := s.arriveNew(qos2, 7, 2)
	other := s.arriveNew(qos2, 8, 1)
	s.Ack(first)
	s.Ack(first)
	s.acks()
	s.counts(2, 2, 2)
	s.Ack(first + 1)
	s.acks("PUBREC#7")
	s.Ack(first)
	s.Ack(first + 1)
	s.Ack(other + 1) // this delivery does not exist
	s.Ack(0)
	s.counts(1, 1, 2)
	s.journaled(Change{Kind: Received, ID: 7})
}

// A5, [MQTT-4.3.2-2]
func TestQoS1WithTheSameIdentifierIsDeliveredAgain(t *testing.T) {
	s := newInScript(t)
	a, b := s.arriveNew(qos1, 7, 1), s.arriveNew(qos1, 7, 1)
	s.Ack(b)
	s.Ack(a)
	s.acks("PUBACK#7", "PUBACK#7")
	s.journaled()
}

// A4, [MQTT-4.3.3-2]
func TestQoS2IsDeliveredOnceUntilPubrelAndThenAnew(t *testing.T) {
	s := newInScript(t)
	a := s.arriveNew(qos2, 7, 1)
	s.arriveAgain(7) // before it is acked
	s.acks()
	s.Ack(a)
	s.acks("PUBREC#7", "PUBREC#7")
	s.arriveAgain(7) // after PUBREC
	s.acks("PUBREC#7")
	s.Release(7)
	s.counts(0, 0, 0)
	b := s.arriveNew(qos2, 7, 1)
	s.acks()
	s.Ack(b)
	s.acks("PUBREC#7")
}

func TestQoS1AndQoS2DoNotShareIdentifiersInOurHands(t *testing.T) {
	s := newInScript(t)
	a := s.arriveNew(qos2, 7, 1)
	b := s.arriveNew(qos1, 7, 1)
	s.Ack(b)
	s.counts(2, 1, 1)
	s.journaled()
	s.Ack(a)
	s.acks("PUBREC#7", "PUBACK#7")
}

// A1, A2: the session answers each PUBREL with PUBCOMP.
func TestPubrelForAnUnknownIdentifierChangesNothing(t *testing.T) {
	s := newInScript(t)
	s.arriveNew(qos1, 7, 1)
	s.Release(7)
	s.Release(8)
	s.Release(0)
	s.counts(1, 1, 0)
	s.journaled()
}

func TestStoreIsToldWhenAllHaveAckedAndWhenPubrelComes(t *testing.T) {
	s := newInScript(t)
	s.arriveNew(qos1, 1, 1) // it delays the acks behind it, but not the changes of the store
	first := s.arriveNew(qos2, 7, 2)
	s.journaled()
	s.Ack(first)
	s.journaled()
	s.Ack(first + 1)
	s.journaled(Change{Kind: Received, ID: 7})
	s.acks()
	s.arriveAgain(7)
	s.Release(7)
	s.journaled(Change{Kind: Forgotten, ID: 7})
	s.Release(7)
	s.journaled()
}

// A PUBREC sent after PUBREL would acknowledge the next message with the same identifier.
func TestNoPubrecForAnEarlierMessageFollowsPubrel(t *testing.T) {
	s := newInScript(t)
	head := s.arriveNew(qos1, 1, 1)
	a := s.arriveNew(qos2, 7, 1)
	s.arriveAgain(7)
	s.Ack(a)
	s.Release(7) // while PUBRECs for 7 wait behind the first message
	b := s.arriveNew(qos2, 7, 1)
	s.journaled(Change{Kind: Received, ID: 7}, Change{Kind: Forgotten, ID: 7})
	s.Ack(head)
	s.acks("PUBACK#1")
	s.journaled()
	s.Ack(b)
	s.acks("PUBREC#7")
	s.journaled(Change{Kind: Received, ID: 7})
}

func TestPubrelBeforeTheMessageIsAckedLeavesTheNextOneAlone(t *testing.T) {
	s := newInScript(t)
	a := s.arriveNew(qos2, 7, 2)
	s.arriveAgain(7)
	s.Release(7)
	b := s.arriveNew(qos2, 7, 1)
	s.Ack(a)
	s.Ack(a + 1)
	s.acks()
	s.journaled()
	s.counts(1, 1, 1)
	s.Ack(b)
	s.acks("PUBREC#7")
}

// K5
func TestNoAckOfALostConnectionLeavesOnTheNext(t *testing.T) {
	s := newInScript(t)
	a, b := s.arriveNew(qos1, 1, 1), s.arriveNew(qos1, 2, 1)
	c := s.arriveNew(qos2, 3, 1)
	s.Ack(b)
	s.Ack(c)
	s.Lost(true)
	s.acks()
	s.counts(0, 0, 1)
	again := s.arriveNew(qos1, 1, 1)
	s.Ack(a)
	s.acks()
	s.Ack(again)
	s.acks("PUBACK#1")
}

// K6
func TestQoS2AfterTheCutIsAckedWithoutASecondDelivery(t *testing.T) {
	s := newInScript(t)
	a := s.arriveNew(qos2, 7, 1)
	s.Ack(a)
	s.acks("PUBREC#7")
	s.journaled(Change{Kind: Received, ID: 7})
	s.Lost(true)
	s.arriveAgain(7)
	s.acks("PUBREC#7")
	s.Lost(true)
	s.Release(7)
	s.journaled(Change{Kind: Forgotten, ID: 7})
	s.arriveNew(qos2, 7, 1)
}

// A message has two consumers, and the connection is lost before the second one acknowledges the
// message:
//
//	connection 1   7 is delivered to two consumers, one acknowledges
//	connection 2   7 arrives again, twice                        no PUBREC yet
//	               the other acknowledges                        both PUBRECs may be sent
func TestPubrecOfTheSecondCopyWaitsForTheConsumersOfTheFirst(t *testing.T) {
	s := newInScript(t)
	first := s.arriveNew(qos2, 7, 2)
	s.Ack(first)
	s.Lost(true)
	s.counts(0, 1, 1)
	equal(t, "the acked delivery pending", s.Pending(first), false)
	equal(t, "the other pending", s.Pending(first+1), true)
	s.arriveAgain(7)
	s.arriveAgain(7)
	s.acks()
	s.Lost(true)
	s.arriveAgain(7)
	s.arriveAgain(7)
	behind := s.arriveNew(qos1, 1, 1)
	s.Ack(behind)
	s.acks()
	s.journaled()
	s.Ack(first + 1)
	s.journaled(Change{Kind: Received, ID: 7})
	s.acks("PUBREC#7", "PUBREC#7", "PUBACK#1")
	s.counts(0, 0, 1)
	s.Ack(first + 1)
	s.counts(0, 0, 1)
}

func TestAckedAfterTheCutBeforeItComesAgain(t *testing.T) {
	s := newInScript(t)
	a := s.arriveNew(qos2, 7, 1)
	s.Lost(true)
	s.Ack(a)
	s.journaled(Change{Kind: Received, ID: 7})
	s.acks()
	s.arriveAgain(7)
	s.acks("PUBREC#7")
}

func TestPubrelEndsWaitingForAcksOfAnEarlierConnection(t *testing.T) {
	s := newInScript(t)
	a := s.arriveNew(qos2, 7, 2)
	b := s.arriveNew(qos2, 8, 1)
	s.Lost(true)
	s.arriveAgain(7)
	s.Release(7)
	s.counts(1, 1, 1)
	s.arriveNew(qos2, 7, 1)
	s.Ack(a)
	s.Ack(a + 1)
	s.acks()
	s.counts(1, 2, 2)
	s.journaled()
	s.Ack(b)
	s.journaled(Change{Kind: Received, ID: 8})
}

func TestCleanSessionForgetsAllWithTheConnection(t *testing.T) {
	s := newInScript(t)
	a, b := s.arriveNew(qos2, 7, 1), s.arriveNew(qos2, 8, 1)
	s.Ack(a)
	s.journaled(Change{Kind: Received, ID: 7})
	s.Lost(false)
	s.journaled(Change{Kind: Forgotten, ID: 7})
	s.counts(0, 0, 0)
	s.arriveNew(qos2, 7, 1)
	s.arriveNew(qos2, 8, 1)
	s.Ack(a)
	s.Ack(b)
	s.acks()
	s.journaled()
}

// K7
func TestWhenTheBrokerLostTheSessionItsIdentifiersAreNew(t *testing.T) {
	s := newInScript(t)
	a, b := s.arriveNew(qos2, 7, 1), s.arriveNew(qos2, 8, 1)
	s.Ack(a)
	s.Lost(true)
	s.counts(0, 1, 2)
	s.Clear()
	s.counts(0, 0, 0)
	s.journaled(Change{Kind: Received, ID: 7}, Change{Kind: Forgotten, ID: 7})
	s.arriveNew(qos2, 7, 1)
	again := s.arriveNew(qos2, 8, 1)
	s.Ack(b)
	s.acks()
	s.counts(2, 2, 2)
	s.Ack(again)
	s.journaled(Change{Kind: Received, ID: 8})
}

// K6 after kill -9
func TestRestoredIdentifiersAreAckedWithoutDelivery(t *testing.T) {
	s := newInScript(t)
	for _, id := range []uint16{7, 65_535, 7, 0} {
		s.Restore(id)
	}
	s.counts(0, 0, 2)
	s.arriveAgain(7)
	s.arriveAgain(65_535)
	s.acks("PUBREC#7", "PUBREC#65535")
	s.journaled()
	s.Release(7)
	s.journaled(Change{Kind: Forgotten, ID: 7})
	s.arriveNew(qos2, 7, 1)
}

// In MQTT 3.1 a broker that has lost the session does not say so. Its new messages can have
// identifiers that the Receiver still holds, but they have no DUP flag.
func TestAnIdentifierInDoubtIsNewWithoutDUP(t *testing.T) {
	s := newInScript(t)
	s.Restore(7)
	s.Restore(8)
	s.Ack(s.arriveNew(qos2, 9, 1))
	s.acks("PUBREC#9")
	s.journaled(Change{Kind: Received, ID: 9})
	unacked := s.arriveNew(qos2, 10, 1)
	s.Lost(true)
	s.Doubt()
	s.arriveDuplicate(7, true) // the broker still has this message
	s.acks("PUBREC#7")
	s.Ack(s.arriveNew(qos2, 8, 1))
	s.Ack(s.arriveNew(qos2, 9, 1))
	s.journaled(Change{Kind: Forgotten, ID: 8}, Change{Kind: Received, ID: 8},
		Change{Kind: Forgotten, ID: 9}, Change{Kind: Received, ID: 9})
	fresh := s.arriveNew(qos2, 10, 1)
	equal(t, "pending", s.Pending(unacked), false)
	s.acks("PUBREC#8", "PUBREC#9")
	s.arriveAgain(10) // identifiers of this connection are not in doubt
	s.Ack(fresh)
	s.acks("PUBREC#10", "PUBREC#10")
}

func TestReceiverWithoutAStoreWorks(t *testing.T) {
	r := NewReceiver(nil)
	a, _ := r.Arrive(qos2, 7, false, 1)
	r.Ack(a)
	if ack, ok := r.Next(); !ok || ack != (frames.Ack{Kind: frames.TypePubrec, ID: 7}) {
		t.Errorf("ack %+v, %v", ack, ok)
	}
	r.Release(7)
	r.Clear()
	equal(t, "held", r.Held(), 0)
}

// Consumers that do not acknowledge hold back all acks. The only cost is a large ring.
func TestAllIdentifiersCanBeUnacked(t *testing.T) {
	s := newInScript(t)
	for id := 1; id <= MaxUnacked; id++ {
		s.arriveNew(frames.QoS(1+id%2), uint16(id), 1)
	}
	s.counts(MaxUnacked, MaxUnacked, MaxUnacked/2+1)
	s.acks()
	for seq := s.tail - 1; seq >= s.head; seq-- {
		s.Ack(seq)
	}
	for id := 1; id <= MaxUnacked; id++ {
		if a, ok := s.Next(); !ok || a.ID != uint16(id) {
			t.Fatalf("ack %+v, %v, want #%d", a, ok, id)
		}
	}
	s.acks()
}

func TestIdleReceiverGivesItsMemoryBackAndGoesOn(t *testing.T) {
	s := newInScript(t)
	for id := range uint16(1000) {
		s.Ack(s.arriveNew(qos2, id+1, 1))
		if id == 500 {
			s.Shrink()
		}
	}
	s.Shrink()
	s.counts(1000, 0, 1000)
	for id := range uint16(1000) {
		if a, ok := s.Next(); !ok || a.ID != id+1 {
			t.Fatalf("ack %+v, %v", a, ok)
		}
		s.Release(id + 1)
	}
	s.Shrink()
	if len(s.ring) > 64 || len(s.ids.slots) > tableMin {
		t.Errorf("keeps %d deliveries, %d slots for identifiers", len(s.ring), len(s.ids.slots))
	}
	s.Ack(s.arriveNew(qos2, 1, 1))
	s.acks("PUBREC#1")
}
